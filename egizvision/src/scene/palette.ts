/** Colours of the scene by theme. Grey is good news: colour is kept for what is abnormal. */
export interface Palette {
  page: number;
  floor: number;
  lane: number;
  running: number;
  stopped: number;
  quiet: number;
  warning: number;
  critical: number;
  selection: number;
}

export const DARK: Palette = {
  page: 0x14171a, floor: 0x262c33, lane: 0x2f363e, running: 0x8b959e, stopped: 0x6a737b, quiet: 0x4a5258, warning: 0xff9e1b, critical: 0xff5f57, selection: 0x6cc3f5,
};

export const LIGHT: Palette = {
  page: 0xf3f4f5, floor: 0xe4e7ea, lane: 0xd9dde1, running: 0xaab2b9, stopped: 0xc1c8cd, quiet: 0xd3d7da, warning: 0xd65a00, critical: 0xdd2c47, selection: 0x2a6fc4,
};
