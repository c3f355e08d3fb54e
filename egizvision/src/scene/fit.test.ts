import { PerspectiveCamera, Vector3 } from "three";
import { expect, test } from "vitest";
import { distanceToFit } from "./fit";

const floor = (length: number, width: number, height: number): Vector3[] =>
  [0, length].flatMap((x) => [0, width].flatMap((z) => [0, height].map((y) => new Vector3(x, y, z))));

test.each([
  ["a wide screen", 1113 / 835, 60, 30],
  ["a tablet held upright", 0.6, 60, 30],
  ["a long line", 1.6, 120, 10],
  ["a deep hall", 1.6, 10, 80],
])("everything is in the picture and some of it near its edge: %s", (_, aspect, length, width) => {
  const points = floor(length, width, 8);
  const target = new Vector3(length / 2, 0, width / 2);
  const direction = new Vector3(-0.2, 1, 1.3);
  const camera = new PerspectiveCamera(42, aspect, 0.5, 1000);
  const distance = distanceToFit(points, target, direction, 42, aspect);
  camera.position.copy(target).addScaledVector(direction.normalize(), distance);
  camera.lookAt(target);
  camera.updateMatrixWorld();
  const reach = points.map((point) => point.clone().project(camera)).map(({ x, y }) => Math.max(Math.abs(x), Math.abs(y)));
  expect(Math.max(...reach)).toBeCloseTo(0.9, 3);
});
