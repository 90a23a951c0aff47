import { Button, PasswordInput } from "@mantine/core";
import { useNavigate, useSearch } from "@tanstack/react-router";
import { type FormEvent, useState } from "react";
import { ApiError, api } from "../api/client";
import { queryClient } from "../api/queries";
import { Logo } from "../parts/Logo";
import { tokenRefused } from "../session";

const REFUSED = "The token in the address was refused.";

export function LoginPage() {
  const { to } = useSearch({ from: "/login" });
  const navigate = useNavigate();
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<string | null>(() => (tokenRefused() ? REFUSED : null));

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setFailure(null);
    try {
      await api.login(token.trim());
      queryClient.clear();
      await navigate({ href: to ?? "/" });
    } catch (error) {
      setFailure(error instanceof ApiError ? error.message : "Login failed.");
      setBusy(false);
    }
  };

  return (
    <main className="login">
      <form className="login-card" onSubmit={submit}>
        <Logo />
        <h1>Log in</h1>
        <p className="dim">
          Enter an API token. <code>lit up</code> prints the administrator's when it starts; it also lies in{" "}
          <code>$LIT_DATA/.lit/token</code>.
        </p>
        <PasswordInput
          label="Token"
          value={token}
          onChange={(event) => setToken(event.currentTarget.value)}
          error={failure}
          autoComplete="current-password"
          data-autofocus
          required
        />
        <Button type="submit" loading={busy} disabled={!token.trim()} fullWidth>
          Log in
        </Button>
      </form>
    </main>
  );
}
