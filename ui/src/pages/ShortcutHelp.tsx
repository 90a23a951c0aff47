import { Kbd, Modal } from "@mantine/core";

const shortcuts: [string[], string][] = [
  [["←", "→"], "pan; with Shift further"],
  [["+", "−"], "zoom in, zoom out"],
  [["End"], "jump to the latest bar"],
  [["Esc"], "close the ticks"],
  [["?"], "this list"],
];

export function ShortcutHelp({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  return (
    <Modal opened={opened} onClose={onClose} title="Keys" size="sm" closeButtonProps={{ "aria-label": "Close" }}>
      <table className="grid">
        <tbody>
          {shortcuts.map(([keys, meaning]) => (
            <tr key={meaning}>
              <td>
                {keys.map((key) => (
                  <Kbd key={key} mr={4}>
                    {key}
                  </Kbd>
                ))}
              </td>
              <td className="wrap">{meaning}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <p className="panel-note">
        Drag to pan, turn the wheel to zoom at the cursor, double-click a scale to reset it, click a bar to list its
        ticks.
      </p>
    </Modal>
  );
}
