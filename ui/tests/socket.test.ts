import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Message } from "../src/live/messages";
import { type Link, LiveSocket } from "../src/live/socket";

class FakeSocket {
  static opened: FakeSocket[] = [];
  onmessage: ((event: { data: string }) => void) | null = null;
  onclose: ((event: { code: number }) => void) | null = null;
  closed = false;

  constructor(readonly url: string) {
    FakeSocket.opened.push(this);
  }

  close(code = 1006) {
    if (this.closed) return;
    this.closed = true;
    this.onclose?.({ code });
  }

  say(message: object) {
    this.onmessage?.({ data: JSON.stringify(message) });
  }
}

const bar = (seq: number) => ({ seq, type: "bar", bar: { ordinal: seq } });

function start(random = () => 1) {
  const messages: Message[] = [];
  const links: Link[] = [];
  const refused = vi.fn();
  const live = new LiveSocket({
    url: "ws://host/live?symbol=A",
    open: (url) => new FakeSocket(url) as unknown as WebSocket,
    onMessage: (message) => messages.push(message),
    onLink: (link) => links.push(link),
    onRefused: refused,
    random,
  });
  return { live, messages, links, refused };
}

const latest = () => FakeSocket.opened.at(-1) as FakeSocket;
const hello = (seq: number, resumed = false) => ({ type: "hello", seq, epoch: "e", resumed, heartbeat_s: 2 });

beforeEach(() => {
  vi.useFakeTimers();
  FakeSocket.opened = [];
});
afterEach(() => vi.useRealTimers());

describe("a live socket", () => {
  it("resumes behind the last number it saw, and takes nothing twice", () => {
    const { messages } = start();
    latest().say(hello(4));
    latest().say(bar(5));
    latest().say(bar(6));
    latest().close();
    vi.advanceTimersByTime(500);
    expect(new URL(latest().url).searchParams.get("seq")).toBe("6");
    expect(new URL(latest().url).searchParams.get("epoch")).toBe("e");
    latest().say(hello(7, true));
    latest().say(bar(6));
    latest().say(bar(7));
    expect(messages.filter((message) => message.type === "bar").map((message) => message.seq)).toEqual([5, 6, 7]);
  });

  it("lets pass what is not numbered", () => {
    const { messages } = start();
    latest().say(hello(4));
    latest().say({ seq: 4, type: "forming", bar: {} });
    latest().say({ seq: 4, type: "forming", bar: {} });
    latest().say({ seq: 4, type: "heartbeat", time: "" });
    expect(messages.map((message) => message.type)).toEqual(["hello", "forming", "forming", "heartbeat"]);
  });

  it("starts over with a snapshot when the server does not know the cursor, even at a lower number", () => {
    const { messages } = start();
    latest().say(hello(40));
    latest().close();
    vi.advanceTimersByTime(500);
    latest().say({ ...hello(2), epoch: "new" });
    latest().say({ seq: 2, type: "snapshot", bars: [] });
    latest().say(bar(3));
    expect(messages.at(-1)?.seq).toBe(3);
    latest().close();
    vi.advanceTimersByTime(500);
    expect(new URL(latest().url).searchParams.get("epoch")).toBe("new");
  });

  it("notices silence within five seconds", () => {
    const { links } = start();
    latest().say(hello(0));
    vi.advanceTimersByTime(3000);
    latest().say({ seq: 0, type: "heartbeat", time: "" });
    vi.advanceTimersByTime(4400);
    expect(links.at(-1)?.state).toBe("live");
    vi.advanceTimersByTime(600);
    expect(links.at(-1)?.state).toBe("lost");
  });

  it("notices a server that accepts but never says hello", () => {
    const { links } = start();
    vi.advanceTimersByTime(5000);
    expect(links.at(-1)?.state).toBe("lost");
  });

  it("waits longer each time, up to a limit, and less by chance", () => {
    const delays = (random: () => number) => {
      const { live, links } = start(random);
      const seen: number[] = [];
      for (let attempt = 0; attempt < 8; attempt += 1) {
        latest().close();
        const link = links.at(-1);
        if (link?.state !== "lost") throw new Error("not lost");
        seen.push(link.retryAt - Date.now());
        vi.advanceTimersByTime(link.retryAt - Date.now());
      }
      live.close();
      return seen;
    };
    expect(delays(() => 1)).toEqual([500, 1000, 2000, 4000, 8000, 15000, 15000, 15000]);
    expect(delays(() => 0)).toEqual([250, 500, 1000, 2000, 4000, 7500, 7500, 7500]);
  });

  it("says that it was refused only if there was no hello", () => {
    const { refused } = start();
    latest().say(hello(0));
    latest().close();
    expect(refused).not.toHaveBeenCalled();
    vi.advanceTimersByTime(500);
    latest().close();
    expect(refused).toHaveBeenCalledOnce();
  });

  it("stays closed once closed", () => {
    const { live, links } = start();
    latest().say(hello(0));
    live.close();
    const before = links.length;
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.opened).toHaveLength(1);
    expect(links).toHaveLength(before);
  });

  it("does not try again for what does not exist, but when asked", () => {
    const { live, links } = start();
    latest().say({ seq: 0, type: "error", detail: "stream 'x' has no bars of 1day" });
    latest().close(4404);
    expect(links.at(-1)).toEqual({ state: "refused", detail: "stream 'x' has no bars of 1day" });
    vi.advanceTimersByTime(60_000);
    expect(FakeSocket.opened).toHaveLength(1);
    live.retryNow();
    expect(FakeSocket.opened).toHaveLength(2);
  });

  it("tries at once when asked", () => {
    const { live } = start();
    latest().close();
    live.retryNow();
    expect(FakeSocket.opened).toHaveLength(2);
    vi.advanceTimersByTime(1000);
    expect(FakeSocket.opened).toHaveLength(2);
  });
});
