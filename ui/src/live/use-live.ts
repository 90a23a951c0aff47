import { useEffect, useState, useSyncExternalStore } from "react";
import { checkSession } from "../api/queries";
import { type ChannelKey, LiveStore } from "./store";

/** The channel's store while the component is mounted; null until it is opened. */
export function useLive(key: ChannelKey | null): LiveStore | null {
  const [store, setStore] = useState<LiveStore | null>(null);
  const text = key === null ? null : JSON.stringify(key);
  useEffect(() => {
    if (text === null) return;
    const opened = new LiveStore(JSON.parse(text) as ChannelKey, checkSession);
    setStore(opened);
    return () => {
      opened.close();
      setStore(null);
    };
  }, [text]);
  return store;
}

/** A part of the store; the component renders again only when that part changes. */
export function useSlice<T>(store: LiveStore, select: (store: LiveStore) => T): T {
  return useSyncExternalStore(store.subscribe, () => select(store));
}
