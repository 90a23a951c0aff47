import { api } from "./api/client";

let refused = false;

/** Whether the address had a token that was refused: the login page says so, and asks for another one. */
export function tokenRefused(): boolean {
  return refused;
}

/** Log in with the token of the address bar, if there is one, and remove it from there. */
export async function takeToken(): Promise<void> {
  const url = new URL(window.location.href);
  const token = url.searchParams.get("token");
  if (token === null) return;
  url.searchParams.delete("token");
  window.history.replaceState(null, "", url);
  await api.login(token).catch(() => {
    refused = true;
  });
}
