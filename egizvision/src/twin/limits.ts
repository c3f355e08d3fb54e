/** From values to a state that people can see: what templates say about limits, and how the worst of a machine is found. Pure. */
import type { Property, Thing, TwinStore } from "./store";

/** What a template says of a property. */
export interface Rule {
  unit?: string;
  title?: string;
  decimals?: number;
  warning_low?: number;
  warning_high?: number;
  critical_low?: number;
  critical_high?: number;
}

/** Rules by definition, then `feature/property`. */
export type Rules = Map<string, Map<string, Rule>>;

/** How bad, in order. */
export enum Severity {
  Normal = 0,
  Warning = 1,
  Critical = 2,
}

/** A machine's state as it is shown. */
export interface MachineState {
  severity: Severity;
  anomaly: boolean;
  /** Silent or never heard. */
  quiet: boolean;
  running: boolean;
  /** In words, for people who do not see colours. */
  words: string;
}

export function severityOf(value: number, rule: Rule | undefined): Severity {
  if (!rule || Number.isNaN(value)) return Severity.Normal;
  const beyond = (low: number | undefined, high: number | undefined): boolean =>
    (low !== undefined && value < low) || (high !== undefined && value > high);
  if (beyond(rule.critical_low, rule.critical_high)) return Severity.Critical;
  if (beyond(rule.warning_low, rule.warning_high)) return Severity.Warning;
  return Severity.Normal;
}

export function severityOfProperty(store: TwinStore, thing: Thing, property: Property, rules: Rules): Severity {
  const rule = rules.get(thing.definition)?.get(`${property.feature}/${property.property}`);
  const values = store.numbers(thing, property.feature, property.property);
  return Math.max(Severity.Normal, ...values.map((value) => severityOf(value, rule)));
}

export function stateOf(store: TwinStore, thing: Thing, rules: Rules): MachineState {
  let severity = Severity.Normal;
  for (const property of thing.properties.values()) {
    severity = Math.max(severity, severityOfProperty(store, thing, property, rules));
  }
  const anomaly = store.numbers(thing, "status", "anomaly")[0] === 1;
  const process = thing.properties.get("process/state");
  const word = process ? store.text(process) : "";
  const quiet = thing.connection !== "live";
  const running = !quiet && !["", "idle", "stopped", "off", "cleaning"].includes(word);
  const parts = [
    quiet ? (thing.connection === "unknown" ? "never heard" : thing.connection) : word || "live",
    anomaly ? "anomaly" : "",
    severity === Severity.Critical ? "critical" : severity === Severity.Warning ? "warning" : "",
  ];
  return { severity, anomaly, quiet, running, words: parts.filter((part) => part !== "").join(", ") };
}

/** Seconds of silence after which a device counts as silent, by definition, from the same answer. */
export function readSilences(items: unknown): Map<string, number> {
  const silences = new Map<string, number>();
  if (!Array.isArray(items)) return silences;
  for (const template of items as Record<string, unknown>[]) {
    if (typeof template?.definition !== "string") continue;
    if (typeof template.stale_after_s === "number" && template.stale_after_s > 0) silences.set(template.definition, template.stale_after_s);
  }
  return silences;
}

/** Reads the answer of GET /api/v1/templates; what is malformed gives no rule. */
export function readRules(items: unknown): Rules {
  const rules: Rules = new Map();
  if (!Array.isArray(items)) return rules;
  for (const template of items as Record<string, unknown>[]) {
    if (typeof template?.definition !== "string") continue;
    const byProperty = new Map<string, Rule>();
    for (const [feature, properties] of Object.entries((template.features ?? {}) as Record<string, Record<string, Rule>>)) {
      for (const [property, rule] of Object.entries(properties)) byProperty.set(`${feature}/${property}`, rule);
    }
    rules.set(template.definition, byProperty);
  }
  return rules;
}
