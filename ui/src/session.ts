import { api } from "./api/client";

/** Log in with the token of the address bar, if there is one, and remove it from there. */
export async function takeToken(): Promise<void> {
  const url = new URL(window.location.href);
  const token = url.searchParams.get("token");
  if (token === null) return;
  url.searchParams.delete("token");
  window.history.replaceState(null, "", url);
  // A refused token ends at the login page, which asks for another one.
  await api.login(token).catch(() => undefined);
}
