/** What the doctor finds: one row per check, findings as plain data, and what follows from all of them. */

/** In the order in which a span travels. `app` is there only when a command was given. */
export const STAGES = ['runtime', 'settings', 'collector', 'milvus', 'join', 'app'] as const;
export type Stage = (typeof STAGES)[number];

export type Status = 'ok' | 'warning' | 'failure' | 'skipped';

/** Every check by its id, which begins with its stage; ids are never renamed, docs/doctor.md lists them. */
export const CHECKS = {
  'runtime.node': "Node's version",
  'runtime.preload': 'How the preload is loaded: NODE_OPTIONS and its quotes, the command, other preloads',
  'runtime.package': "Which milvus-otel the app's folder resolves",
  'runtime.sdk': 'The version of the Milvus SDK in the app',
  'runtime.api': "Whether the app and the preload can share the app's copy of @opentelemetry/api",
  'runtime.copies': 'Packages installed several times: @opentelemetry/*, @grpc/grpc-js, the SDK, milvus-otel',
  'runtime.esm': 'How ES modules are patched on this Node',
  'runtime.bundle': 'Whether a bundle contains the SDK: then each gRPC call gets a span',
  'settings.values': 'Every OTEL_ variable that is set, as it is understood; secrets are not shown',
  'settings.unusable': 'A value that cannot be used, and the value used instead',
  'settings.misspelt': 'An unknown variable, and the known one with a similar name',
  'settings.disabled': 'OTEL_SDK_DISABLED',
  'settings.exporter': 'OTEL_TRACES_EXPORTER without otlp',
  'settings.sampler': 'A sampler that keeps no traces, or only a share',
  'settings.propagators': 'OTEL_PROPAGATORS without tracecontext, which Milvus reads',
  'settings.instrumentations': 'Lists of instrumentations without milvus',
  'settings.endpoint': 'An endpoint that does not fit its protocol',
  'settings.file': 'OTEL_CONFIG_FILE',
  'settings.proxy': 'A proxy between the app and the collector or Milvus',
  'collector.name': "The collector's name is resolved",
  'collector.tcp': 'The collector accepts connections',
  'collector.tls': 'TLS on both sides or on none, and the certificate',
  'collector.protocol': 'The port uses the configured protocol, gRPC or HTTP',
  'collector.export': 'The collector accepts one marked span',
  'milvus.name': "Milvus' name is resolved",
  'milvus.tcp': 'Milvus accepts connections',
  'milvus.tls': 'TLS on both sides or on none, and the certificate',
  'milvus.protocol': 'The port uses gRPC',
  'milvus.access': 'Milvus accepts the credentials',
  'milvus.probe': 'A traced call: Connect and GetVersion, with a sampled traceparent',
  'milvus.version': "The server's version, and whether it can trace",
  'join.query': 'The query API of Jaeger or Tempo answers',
  'join.client': "The probe's client span is stored",
  'join.server': "The server's span is in the same trace",
  'join.parent': "The server's span is a child of the client's",
  'join.clock': "The difference between the server's clock and the client's",
  'app.preload': 'The preload was loaded in the app, before the SDK',
  'app.traced': 'Milvus calls that were seen, and the spans that would have been exported',
  'app.bundle': 'The app loads no SDK as a package: a bundle contains it',
  'app.untraced': 'Milvus calls without a span, and why',
  'app.lost': 'Spans that were created and not exported',
  'app.end': 'How the app exited',
} as const;
export type CheckId = keyof typeof CHECKS;

export interface Finding {
  id: CheckId;
  status: Status;
  /** The result, on one line. */
  found: string;
  /** A command or lines to paste; may have several lines. Always there for a failure. */
  fix?: string;
}

export interface StageReport {
  stage: Stage;
  /** The worst of its findings; skipped only when all are. */
  status: Status;
  findings: Finding[];
}

export interface Verdict {
  /** The first broken stage; null when none is. */
  stage: Stage | null;
  id: CheckId | null;
  text: string;
  fix: string | null;
}

export interface Report {
  /** Of this shape. Fields may be added under the same number. */
  format: 1;
  version: string;
  /** No stage is broken, and the probe's joined trace was found. */
  sound: boolean;
  exitCode: number;
  verdict: Verdict;
  stages: StageReport[];
}

export const EXIT = { sound: 0, broken: 1, usage: 2, unproven: 3 } as const;

const ORDER: readonly Status[] = ['skipped', 'ok', 'warning', 'failure'];

export const worst = (findings: readonly Finding[]): Status =>
  findings.reduce<Status>(
    (most, { status }) => (ORDER.indexOf(status) > ORDER.indexOf(most) ? status : most),
    'skipped',
  );

/** Findings of all stages → the report. */
export function conclude(version: string, found: ReadonlyMap<Stage, Finding[]>): Report {
  const stages = STAGES.flatMap((stage): StageReport[] => {
    const findings = found.get(stage);
    return findings === undefined ? [] : [{ stage, status: worst(findings), findings }];
  });
  const all = stages.flatMap(({ stage, findings }) => findings.map((finding) => ({ stage, finding })));
  const broken = all.find(({ finding }) => finding.status === 'failure');
  const joined = all.some(({ finding: { id, status } }) => id === 'join.parent' && status === 'ok');
  const base = { format: 1, version, stages } as const;
  if (broken !== undefined) {
    const { stage, finding } = broken;
    const verdict = { stage, id: finding.id, text: finding.found, fix: finding.fix ?? null };
    return { ...base, sound: false, exitCode: EXIT.broken, verdict };
  }
  if (!joined) {
    const open = all.find(({ finding }) => finding.status === 'skipped')?.finding;
    const text = `no stage is broken, but the joined trace was not found${open ? `: ${open.found}` : ''}`;
    const verdict = { stage: null, id: open?.id ?? null, text, fix: open?.fix ?? null };
    return { ...base, sound: false, exitCode: EXIT.unproven, verdict };
  }
  const text = "the trace is joined: the server's span is a child of the client's";
  return { ...base, sound: true, exitCode: EXIT.sound, verdict: { stage: null, id: null, text, fix: null } };
}
