import { isNumbered, type Message } from "./messages";

export type Link =
  | { state: "connecting"; attempt: number }
  | { state: "live" }
  | { state: "lost"; since: number; retryAt: number; attempt: number }
  | { state: "refused"; detail: string };

export interface SocketOptions {
  /** Address without the cursor. */
  url: string;
  onMessage: (message: Message) => void;
  onLink: (link: Link) => void;
  /** Called when a connection failed before the server said hello: the session may have ended. */
  onRefused?: () => void;
  open?: (url: string) => WebSocket;
  random?: () => number;
}

const FIRST_DELAY_MS = 500;
const LONGEST_DELAY_MS = 15_000;
/** The server's close code for what does not exist: trying again would not help. */
const NOT_FOUND = 4404;
/** Before hello tells the server's own heartbeat. */
const DEFAULT_HEARTBEAT_S = 2;

/**
 * A live channel that survives lost connections: it reconnects with growing, jittered delays, resumes behind the last
 * number it saw, and drops what it has seen before. Silence for two heartbeats counts as a lost connection, so that
 * it is noticed within five seconds even if the network swallows packets.
 */
export class LiveSocket {
  private socket: WebSocket | null = null;
  private epoch: string | null = null;
  private seq = -1;
  private attempt = 0;
  private since = 0;
  private heartbeatMs = DEFAULT_HEARTBEAT_S * 1000;
  private silence: ReturnType<typeof setTimeout> | undefined;
  private retry: ReturnType<typeof setTimeout> | undefined;
  private ended = false;

  constructor(private readonly options: SocketOptions) {
    this.connect();
  }

  /** Try now instead of waiting. */
  retryNow(): void {
    if (this.ended || this.socket !== null) return;
    clearTimeout(this.retry);
    this.connect();
  }

  close(): void {
    this.ended = true;
    clearTimeout(this.retry);
    this.drop();
  }

  private connect(): void {
    this.retry = undefined;
    if (this.attempt === 0) this.options.onLink({ state: "connecting", attempt: 0 });
    const socket = (this.options.open ?? ((url) => new WebSocket(url)))(this.address());
    let greeted = false;
    let detail = "";
    this.socket = socket;
    this.watch();
    socket.onmessage = (event) => {
      if (this.socket !== socket) return;
      this.watch();
      const message = JSON.parse(event.data as string) as Message;
      if (message.type === "hello") greeted = true;
      if (message.type === "error") detail = message.detail;
      else this.take(message);
    };
    socket.onclose = (event) => {
      if (this.socket !== socket) return;
      if (event.code === NOT_FOUND) {
        this.drop();
        this.attempt = 0;
        this.options.onLink({ state: "refused", detail: detail || "This is not there." });
        return;
      }
      if (!greeted) this.options.onRefused?.();
      this.lose();
    };
  }

  private take(message: Message): void {
    if (message.type === "hello") {
      this.heartbeatMs = message.heartbeat_s * 1000;
      this.attempt = 0;
      this.since = 0;
      if (!message.resumed) this.seq = message.seq;
      this.epoch = message.epoch;
      this.options.onLink({ state: "live" });
    } else if (message.type === "snapshot") {
      this.seq = message.seq; // it replaces all there was, whatever its number
    } else if (isNumbered(message)) {
      if (message.seq <= this.seq) return;
      this.seq = message.seq;
    }
    this.options.onMessage(message);
  }

  private address(): string {
    if (this.epoch === null) return this.options.url;
    const cursor = new URLSearchParams({ seq: String(this.seq), epoch: this.epoch });
    return `${this.options.url}${this.options.url.includes("?") ? "&" : "?"}${cursor}`;
  }

  private watch(): void {
    clearTimeout(this.silence);
    this.silence = setTimeout(() => this.lose(), 2 * this.heartbeatMs + 500);
  }

  private lose(): void {
    this.drop();
    if (this.ended) return;
    const span = Math.min(LONGEST_DELAY_MS, FIRST_DELAY_MS * 2 ** this.attempt);
    const delay = span * (0.5 + 0.5 * (this.options.random ?? Math.random)());
    this.attempt += 1;
    this.since ||= Date.now();
    this.retry = setTimeout(() => this.connect(), delay);
    this.options.onLink({
      state: "lost",
      since: this.since,
      retryAt: Date.now() + delay,
      attempt: this.attempt,
    });
  }

  private drop(): void {
    clearTimeout(this.silence);
    const socket = this.socket;
    this.socket = null;
    socket?.close();
  }
}
