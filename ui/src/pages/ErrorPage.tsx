import { Button } from "@mantine/core";
import { Link, useRouter } from "@tanstack/react-router";
import { Notice } from "../parts/Notice";

export function ErrorPage({ error, reset }: { error: unknown; reset: () => void }) {
  const router = useRouter();
  const retry = () => {
    reset();
    void router.invalidate();
  };
  return (
    <Notice
      kind="error"
      title="This did not work"
      error={error instanceof Error ? error : null}
      action={<Button onClick={retry}>Try again</Button>}
    />
  );
}

export function NotFoundPage() {
  return (
    <Notice
      kind="empty"
      title="There is no such page"
      text="The address may be mistyped, or what it named may have been removed."
      action={<Link to="/">Go to the start</Link>}
    />
  );
}
