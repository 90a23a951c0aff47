import { ActionIcon, type MantineColorScheme, Menu, useMantineColorScheme } from "@mantine/core";
import { Moon, Screen, Sun } from "./icons";

const choices: [MantineColorScheme, string, () => React.JSX.Element][] = [
  ["dark", "Dark", Moon],
  ["light", "Light", Sun],
  ["auto", "As the system", Screen],
];

export function SchemeButton() {
  const { colorScheme, setColorScheme } = useMantineColorScheme();
  const Current = choices.find(([scheme]) => scheme === colorScheme)?.[2] ?? Screen;
  return (
    <Menu position="bottom-end" width={170}>
      <Menu.Target>
        <ActionIcon variant="subtle" color="gray" aria-label="Colours">
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
      </Menu.Dropdown>
    </Menu>
  );
}
