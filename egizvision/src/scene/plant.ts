/**
 * The factory in 3D: one instanced mesh a kind, a soft shadow under each machine, an outline around what needs attention.
 * Draws only when something changed, the camera moves, or an outline pulses. Knows no panel and no socket.
 */
import {
  AmbientLight, BackSide, CanvasTexture, Color, DirectionalLight, Fog, HemisphereLight, InstancedMesh, Matrix4, Mesh, MeshBasicMaterial, MeshStandardMaterial, PerspectiveCamera,
  PlaneGeometry, Quaternion, Raycaster, Scene, Vector2, Vector3, WebGLRenderer, type BufferGeometry,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { Severity, type MachineState } from "../twin/limits";
import type { Layout, Place } from "../twin/layout";
import { distanceToFit } from "./fit";
import type { Palette } from "./palette";
import { buildShape, shapeOf } from "./shapes";

interface Kind {
  geometry: BufferGeometry;
  body: InstancedMesh;
  outline: InstancedMesh;
  ids: string[];
}

/** A point of the scene on the screen. */
export interface ScreenPoint {
  id: string;
  x: number;
  y: number;
  visible: boolean;
  distance: number;
}

const OUTLINE_SCALE = 1.06;
const PULSE_MS = 83;

export class Plant {
  /** Frames drawn since the start. */
  frames = 0;
  onFrame: () => void = () => {};
  onPick: (id: string | null) => void = () => {};
  private readonly scene = new Scene();
  private readonly camera = new PerspectiveCamera(42, 1, 0.5, 400);
  private readonly renderer: WebGLRenderer;
  private readonly controls: OrbitControls;
  private readonly body = new MeshStandardMaterial({ vertexColors: true, roughness: 0.72, metalness: 0.08 });
  private readonly hull = new MeshBasicMaterial({ side: BackSide, toneMapped: false });
  private readonly ground: Mesh[] = [];
  private kinds = new Map<string, Kind>();
  private places = new Map<string, Place>();
  private states = new Map<string, MachineState>();
  private selected: string | null = null;
  /** The floor that the camera was placed for; another one is looked at anew. */
  private seenFloor = "";
  private shadows: InstancedMesh | null = null;
  private readonly shadowMaterial: MeshBasicMaterial;
  private readonly raycaster = new Raycaster();
  private scheduled = false;
  private pulse: ReturnType<typeof setInterval> | null = null;
  private pulsePhase = 0;

  constructor(private readonly host: HTMLElement, private palette: Palette, private readonly reducedMotion: boolean) {
    this.renderer = new WebGLRenderer({ antialias: true });
    this.renderer.setPixelRatio(Math.min(devicePixelRatio, 2));
    this.renderer.domElement.tabIndex = 0;
    this.renderer.domElement.setAttribute("aria-label", "3D view; the list on the left has the same machines");
    host.append(this.renderer.domElement);
    this.controls = new OrbitControls(this.camera, this.renderer.domElement);
    this.controls.maxPolarAngle = Math.PI / 2 - 0.05;
    this.controls.addEventListener("change", () => this.invalidate());
    const sun = new DirectionalLight(0xffffff, 1.9);
    sun.position.set(20, 40, 25);
    this.scene.add(new HemisphereLight(0xffffff, 0x556070, 1.5), new AmbientLight(0xffffff, 0.35), sun);
    this.shadowMaterial = new MeshBasicMaterial({ map: softShadow(), transparent: true, depthWrite: false, opacity: 0.7 });
    new ResizeObserver(() => this.resize()).observe(host);
    this.listenForPicks();
    this.resize();
  }

  /** Builds floor, belts and machines anew. */
  show(layout: Layout, places: Place[]): void {
    this.disposeMachines();
    this.ground.splice(0).forEach((mesh) => {
      mesh.geometry.dispose();
      (mesh.material as MeshStandardMaterial).dispose();
      this.scene.remove(mesh);
    });
    this.scene.background = new Color(this.palette.page);
    this.scene.fog = new Fog(this.palette.page, layout.length * 1.6, layout.length * 3.4);
    const flat = (colour: number, x: number, z: number, length: number, width: number, y: number): void => {
      const material = new MeshStandardMaterial({ color: colour, roughness: 0.95 });
      const mesh = new Mesh(new PlaneGeometry(length, width).rotateX(-Math.PI / 2), material);
      mesh.position.set(x + length / 2, y, z + width / 2);
      this.ground.push(mesh);
      this.scene.add(mesh);
    };
    flat(this.palette.floor, -2, -2, layout.length + 4, layout.width + 4, 0);
    for (const area of layout.areas) flat(this.palette.lane, area.x, area.z, area.length, area.width, 0.01);
    for (const link of layout.links) {
      link.points.slice(1).forEach((to, index) => {
        const from = link.points[index];
        if (!from) return;
        const length = Math.max(Math.abs(to.x - from.x), 0.3);
        const width = Math.max(Math.abs(to.z - from.z), link.width);
        flat(this.palette.stopped, Math.min(from.x, to.x), (from.z + to.z) / 2 - width / 2, length, width, link.height);
      });
    }
    this.places = new Map(places.map((place) => [place.thingId, place]));
    const byShape = new Map<string, Place[]>();
    for (const place of places) {
      const shape = shapeOf(place.kind);
      byShape.set(shape, [...(byShape.get(shape) ?? []), place]);
    }
    for (const [shape, members] of byShape) this.addKind(shape, members);
    this.addShadows(places);
    for (const [id, state] of this.states) this.setState(id, state);
    const floor = `${layout.title} ${layout.length} ${layout.width}`;
    if (floor !== this.seenFloor) {
      this.seenFloor = floor;
      this.home(layout);
    }
    this.invalidate();
  }

  /** Looks at the whole floor and every machine on it. */
  home(layout: Layout): void {
    const { length, width } = layout;
    const target = new Vector3(length / 2, 0, width / 2);
    const direction = new Vector3(-length * 0.12, length * 0.55, width / 2 + length * 0.5);
    const points = [0, length].flatMap((x) => [0, width].map((z) => new Vector3(x, 0, z)));
    for (const { x, z, length: long, width: wide, height } of this.places.values()) {
      const half = Math.max(long, wide) / 2;
      for (const side of [-half, half]) points.push(new Vector3(x + side, height, z - half), new Vector3(x + side, height, z + half));
    }
    const distance = distanceToFit(points, target, direction, this.camera.fov, this.camera.aspect);
    this.camera.far = Math.max(400, distance * 3);
    if (this.scene.fog instanceof Fog) {
      this.scene.fog.near = Math.max(length * 1.6, distance * 1.3);
      this.scene.fog.far = this.scene.fog.near + length * 1.8;
    }
    this.camera.updateProjectionMatrix();
    this.controls.target.copy(target);
    this.camera.position.copy(target).addScaledVector(direction.normalize(), distance);
    this.controls.update();
    this.invalidate();
  }

  setState(id: string, state: MachineState): void {
    this.states.set(id, state);
    const found = this.find(id);
    if (!found) return;
    const { kind, index } = found;
    const grey = state.quiet ? this.palette.quiet : state.running ? this.palette.running : this.palette.stopped;
    const colour = state.severity === Severity.Critical ? this.palette.critical : state.severity === Severity.Warning ? this.palette.warning : grey;
    kind.body.setColorAt(index, new Color(colour));
    if (kind.body.instanceColor) kind.body.instanceColor.needsUpdate = true;
    this.placeOutline(kind, index, id);
    this.keepPulse();
    this.invalidate();
  }

  select(id: string | null): void {
    const before = this.selected;
    this.selected = id;
    for (const one of [before, id]) {
      const found = one ? this.find(one) : null;
      if (found && one) this.placeOutline(found.kind, found.index, one);
    }
    this.invalidate();
  }

  /** Where machines are on the screen, nearest first: a little above them, for labels, or their middle. */
  project(where: "above" | "middle" = "above"): ScreenPoint[] {
    const width = this.host.clientWidth;
    const height = this.host.clientHeight;
    const point = new Vector3();
    const points = [...this.places.values()].map((place) => {
      point.set(place.x, where === "above" ? place.height + 0.5 : place.height / 2, place.z);
      const distance = point.distanceTo(this.camera.position);
      point.project(this.camera);
      const visible = point.z < 1 && Math.abs(point.x) < 1 && Math.abs(point.y) < 1;
      return { id: place.thingId, x: ((point.x + 1) / 2) * width, y: ((1 - point.y) / 2) * height, visible, distance };
    });
    return points.sort((a, b) => a.distance - b.distance);
  }

  setPalette(palette: Palette): void {
    this.palette = palette;
  }

  get info(): { draws: number; triangles: number } {
    return { draws: this.renderer.info.render.calls, triangles: this.renderer.info.render.triangles };
  }

  invalidate(): void {
    if (this.scheduled || document.hidden) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.renderer.render(this.scene, this.camera);
      this.frames += 1;
      this.onFrame();
    });
  }

  private find(id: string): { kind: Kind; index: number } | null {
    const place = this.places.get(id);
    const kind = place && this.kinds.get(shapeOf(place.kind));
    const index = kind ? kind.ids.indexOf(id) : -1;
    return kind && index >= 0 ? { kind, index } : null;
  }

  private addKind(shape: string, members: Place[]): void {
    const geometry = buildShape(shape);
    const kind: Kind = {
      geometry,
      body: new InstancedMesh(geometry, this.body, members.length),
      outline: new InstancedMesh(geometry, this.hull, members.length),
      ids: members.map((place) => place.thingId),
    };
    members.forEach((place, index) => {
      kind.body.setMatrixAt(index, matrixOf(place, 1));
      kind.body.setColorAt(index, new Color(this.palette.quiet));
      kind.outline.setMatrixAt(index, matrixOf(place, 0));
      kind.outline.setColorAt(index, new Color(this.palette.critical));
    });
    kind.outline.frustumCulled = false;
    this.scene.add(kind.body, kind.outline);
    this.kinds.set(shape, kind);
  }

  private placeOutline(kind: Kind, index: number, id: string): void {
    const place = this.places.get(id);
    if (!place) return;
    const anomaly = this.states.get(id)?.anomaly ?? false;
    const isSelected = this.selected === id;
    const pulse = anomaly && !this.reducedMotion ? 1 + 0.025 * Math.sin(this.pulsePhase) : 1;
    kind.outline.setMatrixAt(index, matrixOf(place, anomaly || isSelected ? OUTLINE_SCALE * pulse : 0));
    kind.outline.setColorAt(index, new Color(anomaly ? this.palette.critical : this.palette.selection));
    kind.outline.instanceMatrix.needsUpdate = true;
    if (kind.outline.instanceColor) kind.outline.instanceColor.needsUpdate = true;
  }

  /** Pulses at 12 Hz while there is an anomaly to draw the eye to, and not otherwise. */
  private keepPulse(): void {
    const wanted = !this.reducedMotion && [...this.states.values()].some((state) => state.anomaly);
    if (wanted && !this.pulse) {
      this.pulse = setInterval(() => {
        this.pulsePhase += (PULSE_MS / 1000) * Math.PI * 2;
        for (const [id, state] of this.states) {
          const found = state.anomaly ? this.find(id) : null;
          if (found) this.placeOutline(found.kind, found.index, id);
        }
        this.invalidate();
      }, PULSE_MS);
    } else if (!wanted && this.pulse) {
      clearInterval(this.pulse);
      this.pulse = null;
    }
  }

  private addShadows(places: Place[]): void {
    const shadows = new InstancedMesh(new PlaneGeometry(1, 1).rotateX(-Math.PI / 2), this.shadowMaterial, places.length);
    const matrix = new Matrix4();
    places.forEach((place, index) => {
      const scale = new Vector3(place.length * 1.35, 1, place.width * 1.5);
      matrix.compose(new Vector3(place.x, 0.02, place.z), turn(place), scale);
      shadows.setMatrixAt(index, matrix);
    });
    this.shadows = shadows;
    this.scene.add(shadows);
  }

  private disposeMachines(): void {
    for (const kind of this.kinds.values()) {
      this.scene.remove(kind.body, kind.outline);
      kind.geometry.dispose();
      kind.body.dispose();
      kind.outline.dispose();
    }
    this.kinds = new Map();
    if (this.shadows) {
      this.scene.remove(this.shadows);
      this.shadows.geometry.dispose();
      this.shadows.dispose();
    }
  }

  private listenForPicks(): void {
    const canvas = this.renderer.domElement;
    let downAt = { x: 0, y: 0 };
    canvas.addEventListener("pointerdown", (event) => (downAt = { x: event.clientX, y: event.clientY }));
    canvas.addEventListener("pointerup", (event) => {
      if (Math.hypot(event.clientX - downAt.x, event.clientY - downAt.y) > 5) return;
      const area = canvas.getBoundingClientRect();
      const point = new Vector2(((event.clientX - area.left) / area.width) * 2 - 1, 1 - ((event.clientY - area.top) / area.height) * 2);
      this.raycaster.setFromCamera(point, this.camera);
      const bodies = [...this.kinds.values()].map((kind) => kind.body);
      const hit = this.raycaster.intersectObjects(bodies)[0];
      const kind = [...this.kinds.values()].find((candidate) => candidate.body === hit?.object);
      this.onPick(kind && hit?.instanceId !== undefined ? (kind.ids[hit.instanceId] ?? null) : null);
    });
  }

  private resize(): void {
    const { clientWidth, clientHeight } = this.host;
    if (clientWidth === 0 || clientHeight === 0) return;
    this.renderer.setSize(clientWidth, clientHeight);
    this.camera.aspect = clientWidth / clientHeight;
    this.camera.updateProjectionMatrix();
    this.invalidate();
  }
}

function turn(place: Place): Quaternion {
  return new Quaternion().setFromAxisAngle(new Vector3(0, 1, 0), (-place.rotationDegrees * Math.PI) / 180);
}

function matrixOf(place: Place, scale: number): Matrix4 {
  const size = new Vector3(place.length, place.height, place.width).multiplyScalar(scale);
  return new Matrix4().compose(new Vector3(place.x, 0, place.z), turn(place), size);
}

/** A soft dark spot, drawn once. */
function softShadow(): CanvasTexture {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 128;
  const context = canvas.getContext("2d");
  if (context) {
    const gradient = context.createRadialGradient(64, 64, 12, 64, 64, 64);
    gradient.addColorStop(0, "rgba(0,0,0,0.75)");
    gradient.addColorStop(1, "rgba(0,0,0,0)");
    context.fillStyle = gradient;
    context.fillRect(0, 0, 128, 128);
  }
  return new CanvasTexture(canvas);
}
