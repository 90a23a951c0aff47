import type { ReactNode } from "react";
import { ApiError } from "../api/client";

interface NoticeProps {
  kind: "empty" | "error";
  title: string;
  text?: ReactNode;
  error?: Error | null;
  action?: ReactNode;
}

/** What stands where data would be: nothing there yet, or a failure, each with the next step. */
export function Notice({ kind, title, text, error, action }: NoticeProps) {
  const id = error instanceof ApiError ? error.requestId : null;
  return (
    <div className="notice" role={kind === "error" ? "alert" : undefined}>
      <strong>{title}</strong>
      {text ? <p>{text}</p> : null}
      {error ? <p>{error.message}</p> : null}
      {id ? (
        <p className="faint">
          Request <code>{id}</code>
        </p>
      ) : null}
      {action ? <div className="notice-action">{action}</div> : null}
    </div>
  );
}
