export interface Palette {
  background: string;
  text: string;
  grid: string;
  border: string;
  crosshair: string;
  label: string;
  up: string;
  down: string;
  upVolume: string;
  downVolume: string;
  right: string;
  wrong: string;
  pending: string;
  half: string;
}

export const palettes: Record<"dark" | "light", Palette> = {
  dark: {
    background: "#0d1218",
    text: "#95a1b0",
    grid: "#171e27",
    border: "#222b36",
    crosshair: "#5b6979",
    label: "#2c3744",
    up: "#2ebd9b",
    down: "#f0616d",
    upVolume: "#2ebd9b66",
    downVolume: "#f0616d66",
    right: "#5aa9f5",
    wrong: "#f2a33c",
    pending: "#95a1b0",
    half: "#4d5a69",
  },
  light: {
    background: "#ffffff",
    text: "#5a6675",
    grid: "#f0f2f5",
    border: "#dfe3e8",
    crosshair: "#8a95a3",
    label: "#4b5866",
    up: "#0b8f73",
    down: "#d43a49",
    upVolume: "#0b8f7355",
    downVolume: "#d43a4955",
    right: "#1769c2",
    wrong: "#b65c00",
    pending: "#6b7785",
    half: "#b3bcc7",
  },
};
