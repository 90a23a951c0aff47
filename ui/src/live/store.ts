import { api, livePath } from "../api/client";
import { collect, PAGE } from "./history";
import { type Link, LiveSocket } from "./socket";
import { type Call, emptyView, prepend, receive, type View } from "./view";

export interface ChannelKey {
  team: string;
  stream: string;
  symbol: string;
  interval: string;
  deployment: string | null;
}

const MOST_PAGES = 40;

/** One live channel as an external store for React. */
export class LiveStore {
  view: View = emptyView;
  link: Link = { state: "connecting", attempt: 0 };
  private readonly listeners = new Set<() => void>();
  private readonly socket: LiveSocket;
  private older: Promise<boolean> | null = null;
  private exhausted = false;

  constructor(
    private readonly key: ChannelKey,
    onRefused: () => void,
  ) {
    const query = new URLSearchParams({ interval: key.interval, symbol: key.symbol });
    if (key.deployment) query.set("deployment", key.deployment);
    const origin = window.location.origin.replace(/^http/, "ws");
    this.socket = new LiveSocket({
      url: `${origin}${livePath(key.team, key.stream)}?${query}`,
      onRefused,
      onLink: (link) => {
        this.link = link;
        this.tell();
      },
      onMessage: (message) => {
        const next = receive(this.view, message);
        if (next === this.view) return;
        this.view = next;
        this.tell();
      },
    });
  }

  subscribe = (listener: () => void): (() => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  /** Load the bars and predictions before those that are there; false if there are none, or it failed. */
  loadOlder(): Promise<boolean> {
    this.older ??= this.fetchOlder().finally(() => {
      this.older = null;
    });
    return this.older;
  }

  /** Load older bars until an instant (ms) is covered. */
  async cover(ms: number): Promise<void> {
    for (let page = 0; page < MOST_PAGES; page += 1) {
      const first = this.view.bars[0];
      if (!first || Date.parse(first.start) <= ms || !(await this.loadOlder())) return;
    }
  }

  forgetMerged(): void {
    this.view = { ...this.view, merged: 0 };
    this.tell();
  }

  retryNow(): void {
    this.socket.retryNow();
  }

  close(): void {
    this.socket.close();
    this.listeners.clear();
  }

  private async fetchOlder(): Promise<boolean> {
    const before = this.view.bars[0]?.ordinal ?? 0;
    if (before === 0 || this.exhausted) return false;
    const { team, stream, interval, symbol } = this.key;
    const bars = await api.bars(team, stream, { interval, symbol, before }).catch(() => null);
    if (bars === null) return false;
    const until = this.view.bars[0]?.first_index ?? 0;
    const said = await this.fetchSaid(bars[0]?.first_index ?? until, until).catch(() => null);
    if (said === null) return false;
    const next = prepend(this.view, bars, said);
    this.exhausted = next === this.view;
    if (this.exhausted) return false;
    this.view = next;
    this.tell();
    return true;
  }

  private async fetchSaid(from: number, before: number): Promise<Call[]> {
    const { team, deployment, symbol } = this.key;
    if (deployment === null || from >= before) return [];
    const [predictions, scores] = await Promise.all(
      [api.predictions, api.scores].map((ask) =>
        collect((bound) => ask(team, deployment, { symbol, before_index: bound, limit: PAGE }), from, before),
      ),
    );
    return [...(predictions ?? []), ...(scores ?? [])];
  }

  private tell(): void {
    for (const listener of this.listeners) listener();
  }
}
