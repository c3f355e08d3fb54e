/**
 * Recognisable machines out of boxes and cylinders: one geometry per kind in a unit cube (its foot at y = 0), four tones by
 * vertex colour, so that all machines of a kind draw in one call. Parameters (zones, belts) come with later assets.
 */
import { BoxGeometry, BufferAttribute, type BufferGeometry, Color, ConeGeometry, CylinderGeometry, SphereGeometry } from "three";
import { mergeGeometries } from "three/addons/utils/BufferGeometryUtils.js";

type Tone = "paint" | "steel" | "dark" | "glass" | "warm";

const TONES: Record<Tone, Color> = {
  paint: new Color(1, 1, 1),
  steel: new Color(0.82, 0.86, 0.9),
  dark: new Color(0.24, 0.26, 0.28),
  glass: new Color(0.42, 0.5, 0.56),
  warm: new Color(0.75, 0.62, 0.45),
};

function toned(geometry: BufferGeometry, tone: Tone, x: number, y: number, z: number): BufferGeometry {
  geometry.translate(x, y, z);
  const { r, g, b } = TONES[tone];
  const count = geometry.getAttribute("position").count;
  const colours = new Float32Array(count * 3);
  for (let index = 0; index < count; index++) colours.set([r, g, b], index * 3);
  geometry.setAttribute("color", new BufferAttribute(colours, 3));
  geometry.deleteAttribute("uv");
  return geometry;
}

/** A box by its size and the middle of its foot. */
const box = (tone: Tone, sx: number, sy: number, sz: number, x = 0, y = 0, z = 0): BufferGeometry =>
  toned(new BoxGeometry(sx, sy, sz), tone, x, y + sy / 2, z);
const drum = (tone: Tone, radius: number, height: number, x = 0, y = 0, z = 0): BufferGeometry =>
  toned(new CylinderGeometry(radius, radius, height, 20), tone, x, y + height / 2, z);
const cone = (tone: Tone, radius: number, height: number, x: number, y: number, pointDown: boolean): BufferGeometry => {
  const geometry = new ConeGeometry(radius, height, 20);
  if (pointDown) geometry.rotateX(Math.PI);
  return toned(geometry, tone, x, y + height / 2, 0);
};

const row = (count: number, make: (at: number, index: number) => BufferGeometry[]): BufferGeometry[] =>
  Array.from({ length: count }, (_, index) => make((index + 0.5) / count - 0.5, index)).flat();

const legs = (inset: number): BufferGeometry[] =>
  [-1, 1].flatMap((x) => [-1, 1].map((z) => box("dark", 0.04, 0.25, 0.06, x * inset, 0, z * inset)));

const SHAPES: Record<string, () => BufferGeometry[]> = {
  oven: () => [
    box("dark", 1, 0.12, 0.94), box("paint", 0.94, 0.66, 0.9, 0, 0.14), box("steel", 0.95, 0.05, 0.92, 0, 0.8), box("dark", 1, 0.06, 0.5, 0, 0.42),
    ...row(6, (x) => [box("glass", 0.09, 0.16, 0.03, x * 0.92, 0.5, 0.45), drum("steel", 0.018, 0.16, x * 0.92, 0.84), box("dark", 0.1, 0.04, 0.02, x * 0.92, 0.3, 0.455)]),
  ],
  mixer: () => [
    box("dark", 0.9, 0.08, 0.9), box("paint", 0.3, 0.8, 0.6, -0.3, 0.08), box("paint", 0.75, 0.2, 0.5, 0, 0.78), drum("steel", 0.3, 0.34, 0.14, 0.12),
    drum("dark", 0.27, 0.02, 0.14, 0.45), drum("steel", 0.035, 0.36, 0.14, 0.44), drum("steel", 0.32, 0.03, 0.14, 0.43),
  ],
  proofer: () => [
    box("dark", 1, 0.06, 1), box("paint", 0.98, 0.9, 0.96, 0, 0.06), ...row(4, (x) => [box("glass", 0.18, 0.68, 0.02, x * 0.92, 0.16, 0.485), box("steel", 0.015, 0.7, 0.03, x * 0.92 + 0.1, 0.15, 0.49)]), box("steel", 0.5, 0.08, 0.4, 0, 0.95),
  ],
  conveyor: () => [
    ...row(5, (x) => [box("dark", 0.02, 0.34, 0.7, x, 0)]), box("steel", 1, 0.05, 0.8, 0, 0.34), box("dark", 1, 0.02, 0.66, 0, 0.39), box("paint", 1, 0.06, 0.05, 0, 0.38, 0.4), box("paint", 1, 0.06, 0.05, 0, 0.38, -0.4),
    ...row(9, (x) => [box("warm", 0.06, 0.09, 0.2, x, 0.41, 0.14), box("warm", 0.06, 0.09, 0.2, x, 0.41, -0.14)]),
  ],
  silo: () => [
    ...legs(0.3), cone("steel", 0.42, 0.22, 0, 0.06, true), drum("paint", 0.42, 0.56, 0, 0.28), ...[0.4, 0.56, 0.72].map((y) => drum("steel", 0.43, 0.015, 0, y)), cone("steel", 0.42, 0.1, 0, 0.84, false), drum("dark", 0.06, 0.06, 0, 0.92),
  ],
  tank: () => [...legs(0.28), drum("paint", 0.42, 0.66, 0, 0.18), toned(new SphereGeometry(0.42, 20, 8, 0, Math.PI * 2, 0, Math.PI / 2).scale(1, 0.35, 1), "steel", 0, 0.84, 0), drum("dark", 0.08, 0.05, 0.12, 0.95)],
  chiller: () => [
    box("dark", 1, 0.08, 0.96), box("paint", 0.96, 0.66, 0.9, 0, 0.08), ...row(2, (x) => [drum("steel", 0.2, 0.1, x, 0.74), drum("dark", 0.17, 0.02, x, 0.83), box("steel", 0.32, 0.015, 0.03, x, 0.85)]),
    ...row(6, (x) => [box("dark", 0.1, 0.44, 0.02, x * 0.95, 0.18, 0.455)]),
  ],
  compressor: () => [box("dark", 1, 0.08, 0.9), box("paint", 0.62, 0.7, 0.82, -0.17, 0.08), box("dark", 0.3, 0.3, 0.02, -0.17, 0.36, 0.42), drum("steel", 0.15, 0.74, 0.32, 0.08), drum("steel", 0.04, 0.12, 0.32, 0.82)],
  boiler: () => [box("dark", 1, 0.08, 0.8), toned(new CylinderGeometry(0.36, 0.36, 0.9, 22).rotateZ(Math.PI / 2), "paint", 0, 0.48, 0), toned(new CylinderGeometry(0.37, 0.37, 0.04, 22).rotateZ(Math.PI / 2), "steel", -0.42, 0.48, 0), drum("steel", 0.07, 0.24, 0.3, 0.76), box("dark", 0.1, 0.24, 0.24, -0.48, 0.34)],
  packer: () => [box("dark", 1, 0.08, 0.7), box("paint", 0.5, 0.82, 0.66, -0.1, 0.08), box("glass", 0.3, 0.36, 0.02, -0.1, 0.4, 0.335), toned(new CylinderGeometry(0.16, 0.16, 0.5, 18).rotateX(Math.PI / 2), "steel", -0.1, 0.92, 0), box("steel", 0.96, 0.05, 0.36, 0, 0.34), box("warm", 0.08, 0.08, 0.2, 0.36, 0.4)],
  detector: () => [box("dark", 0.6, 0.06, 0.9), box("paint", 0.34, 0.3, 0.9, 0, 0.66), box("paint", 0.34, 0.6, 0.16, 0, 0.06, 0.37), box("paint", 0.34, 0.6, 0.16, 0, 0.06, -0.37), box("steel", 1, 0.05, 0.5, 0, 0.42), drum("warm", 0.04, 0.08, 0, 0.96)],
  fryer: () => [...legs(0.44), box("paint", 1, 0.4, 0.8, 0, 0.22), box("warm", 0.9, 0.02, 0.66, 0, 0.61), box("steel", 0.9, 0.2, 0.7, 0, 0.8)],
  unknown: () => [box("dark", 0.94, 0.06, 0.94), box("paint", 0.9, 0.86, 0.9, 0, 0.06), box("steel", 0.92, 0.04, 0.92, 0, 0.46)],
};

/** Which shape a kind of the layout, or a Thing's type, has. */
export function shapeOf(kind: string): string {
  const known: [string, string][] = [
    ["oven", "oven"], ["mixer", "mixer"], ["proofer", "proofer"], ["conveyor", "conveyor"], ["cool", "conveyor"], ["silo", "silo"], ["tank", "tank"], ["chiller", "chiller"],
    ["compressor", "compressor"], ["boiler", "boiler"], ["pack", "packer"], ["detector", "detector"], ["fryer", "fryer"],
  ];
  return known.find(([part]) => kind.includes(part))?.[1] ?? "unknown";
}

/** The geometry of a shape; whoever asks owns it and disposes it. */
export function buildShape(shape: string): BufferGeometry {
  const parts = (SHAPES[shape] ?? SHAPES.unknown)?.() ?? [];
  const merged = mergeGeometries(parts);
  parts.forEach((part) => part.dispose());
  return merged;
}
