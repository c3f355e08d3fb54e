/**
 * How far away a camera must be to see all of something: the smallest distance along a direction at which no point lies
 * outside of the picture. Pure; knows no scene.
 */
import { Vector3 } from "three";

/** Of the picture, what the points may fill; the rest is room for labels. */
const FILLED = 0.9;
const UP = new Vector3(0, 1, 0);

/**
 * The distance from `target` along `direction`, which need not be of length one and must not be straight up.
 *
 * @param fovDegrees the vertical field of view
 * @param aspect width by height of the picture
 */
export function distanceToFit(points: Vector3[], target: Vector3, direction: Vector3, fovDegrees: number, aspect: number): number {
  const back = direction.clone().normalize();
  const right = UP.clone().cross(back).normalize();
  const up = back.clone().cross(right);
  const halfHeight = Math.tan((fovDegrees * Math.PI) / 360) * FILLED;
  const halfWidth = halfHeight * aspect;
  let distance = 0;
  for (const point of points) {
    const from = point.clone().sub(target);
    const needed = Math.max(Math.abs(from.dot(right)) / halfWidth, Math.abs(from.dot(up)) / halfHeight);
    distance = Math.max(distance, from.dot(back) + needed);
  }
  return distance;
}
