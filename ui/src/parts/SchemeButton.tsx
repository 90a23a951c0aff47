import { ActionIcon, type MantineColorScheme, Menu, useMantineColorScheme } from "@mantine/core";
import { useNavigate } from "@tanstack/react-router";
import { api } from "../api/client";
import { queryClient } from "../api/queries";
import { Moon, Screen, Sun } from "./icons";

const choices: [MantineColorScheme, string, () => React.JSX.Element][] = [
  ["dark", "Dark", Moon],
  ["light", "Light", Sun],
  ["auto", "As the system", Screen],
];

export function SchemeButton() {
  const navigate = useNavigate();
  const logOut = async () => {
    await api.logout();
    queryClient.clear();
    await navigate({ to: "/login" });
  };
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const Current = choices.find(([scheme]) => scheme === colorScheme)?.[2] ?? Screen;
  return (
    <Menu position="bottom-end" width={170}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Settings">
          <Current />
        </ActionIcon>
      </Menu.Target>
      <Menu.Dropdown>
        {choices.map(([scheme, label, Icon]) => (
          <Menu.Item
            key={scheme}
            leftSection={<Icon />}
            aria-current={scheme === colorScheme}
            fw={scheme === colorScheme ? 600 : 400}
            onClick={() => setColorScheme(scheme)}
          >
            {label}
          </Menu.Item>
        ))}
        <Menu.Divider />
        <Menu.Item onClick={() => void logOut()}>Log out</Menu.Item>
      </Menu.Dropdown>
    </Menu>
  );
}
