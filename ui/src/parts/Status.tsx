const tones: Record<string, string> = {
  running: "good",
  live: "good",
  starting: "busy",
  backoff: "busy",
  failed: "bad",
};

/** A state as a word with a dot; the word carries the meaning. */
export function Status({ status }: { status: string }) {
  return <span className={`status status-${tones[status] ?? "idle"}`}>{status}</span>;
}
