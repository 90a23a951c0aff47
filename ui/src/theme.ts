import { createTheme, localStorageColorSchemeManager, type MantineColorsTuple } from "@mantine/core";

const teal: MantineColorsTuple = [
  "#e3faf4",
  "#c4f1e5",
  "#98e4d1",
  "#66d5ba",
  "#3fc8a8",
  "#2ebd9b",
  "#17a283",
  "#0b8368",
  "#086a55",
  "#055143",
];
const dark: MantineColorsTuple = [
  "#d6dde5",
  "#b4bfcb",
  "#95a1b0",
  "#6f7d8d",
  "#3a4654",
  "#2a3441",
  "#1a222c",
  "#121920",
  "#0d1218",
  "#090d12",
];

export const theme = createTheme({
  primaryColor: "teal",
  primaryShade: { light: 7, dark: 6 },
  autoContrast: true,
  defaultRadius: 5,
  colors: { teal, dark },
  fontFamily: "system-ui, -apple-system, 'Segoe UI', Roboto, 'Noto Sans', sans-serif",
  fontFamilyMonospace: "ui-monospace, 'SF Mono', 'Cascadia Code', 'DejaVu Sans Mono', monospace",
});

export const schemeManager = localStorageColorSchemeManager({ key: "lit-color-scheme" });
