export function Logo() {
  return (
    <span className="logo">
      <svg width={22} height={22} viewBox="0 0 32 32" aria-hidden="true">
        <path d="M9 6v20M16 9v17M23 4v16" stroke="currentColor" strokeWidth={1.8} />
        <rect x={6} y={11} width={6} height={10} rx={1} className="logo-up" />
        <rect x={13} y={14} width={6} height={8} rx={1} className="logo-down" />
        <rect x={20} y={7} width={6} height={9} rx={1} className="logo-up" />
      </svg>
      LIT
    </span>
  );
}
