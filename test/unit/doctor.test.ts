/** The doctor's pure parts. */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { describe, test } from 'node:test';
import { splitNodeOptions } from '../../src/config/node-options.ts';
import { appFindings, type RecordedEvent } from '../../src/doctor/app-findings.ts';
import { answerIn } from '../../src/doctor/collector.ts';
import { CHECKS, conclude, EXIT, type Finding, STAGES, type Stage } from '../../src/doctor/finding.ts';
import { joinFindings, serverFix } from '../../src/doctor/join.ts';
import { markedRequest } from '../../src/doctor/marked-span.ts';
import { probeFindings } from '../../src/doctor/milvus.ts';
import { milvusPlace } from '../../src/doctor/milvus-place.ts';
import { recognise } from '../../src/doctor/network.ts';
import { preloadsIn, quotingProblem, readCommand, shellNodeOptions } from '../../src/doctor/node-options.ts';
import { exportedSpans } from '../../src/doctor/otlp-receiver.ts';
import { reportText, verdictLine } from '../../src/doctor/output.ts';
import { type FoundSpan, spansOf } from '../../src/doctor/query-answer.ts';
import { checkSettings } from '../../src/doctor/settings-stage.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';

describe('NODE_OPTIONS', () => {
  test('is split as Node splits it', () => {
    const cases: [text: string, words: string[]][] = [
      ['--import a  --import=b', ['--import', 'a', '--import=b']],
      ['--import "/with blank/a.mjs"', ['--import', '/with blank/a.mjs']],
      ['--import="a b"', ['--import=a b']],
      [String.raw`--import "a\"b\\c"`, ['--import', String.raw`a"b\c`]],
      ["--import 'a'", ['--import', "'a'"]],
      ['', []],
      ['""', ['']],
    ];
    for (const [text, words] of cases)
      assert.deepEqual(splitNodeOptions(text), { words, unterminated: false }, text);
    assert.equal(splitNodeOptions('--import "a').unterminated, true);
  });

  test('names its preloads, and a flag without a value', () => {
    assert.deepEqual(preloadsIn(['-r', 'a', '--no-warnings', '--import=b', '--import']), {
      preloads: [
        { flag: '--require', specifier: 'a' },
        { flag: '--import', specifier: 'b' },
      ],
      missing: '--import',
    });
  });

  test('has no problem when it is correct', () => {
    for (const text of [
      '--import milvus-otel/register',
      '-r "/a b/register.cjs"',
      '--max-old-space-size=4096',
      '',
    ])
      assert.equal(quotingProblem(text), undefined, text);
  });

  test('of a script is the value that the shell passes on', () => {
    assert.deepEqual(
      shellNodeOptions(
        `A=1 NODE_OPTIONS='--import a' node x; NODE_OPTIONS="-r \\"b\\"" node y && NODE_OPTIONS=--import c`,
      ),
      ['--import a', '-r "b"', '--import'],
    );
  });
});

describe('a command', () => {
  test('is parsed as far as possible', () => {
    const cases: [words: string[], nodeWords: string[], entry: string | undefined][] = [
      [['node', 'app.js', '--import', 'x'], [], 'app.js'],
      [['node', '--import', 'a', '--no-warnings', 'app.js'], ['--import', 'a', '--no-warnings'], 'app.js'],
      [['/usr/bin/node', '-e', '0'], ['-e'], undefined],
      [['npm', 'start'], [], undefined],
    ];
    for (const [words, nodeWords, entry] of cases) {
      const found = readCommand(words);
      assert.deepEqual(
        { nodeWords: found.nodeWords, entry: found.entry },
        { nodeWords, entry },
        words.join(' '),
      );
    }
    assert.deepEqual(readCommand(['env', 'A=1', 'B=x=y', 'node', 'a.js']), {
      env: { A: '1', B: 'x=y' },
      words: ['node', 'a.js'],
      nodeWords: [],
      entry: 'a.js',
      isNode: true,
    });
    assert.deepEqual(readCommand(['env', 'A=1', '-u', 'B', 'node']).words, ['env', 'A=1', '-u', 'B', 'node']);
  });
});

describe('an address of Milvus', () => {
  test('is read as the SDK reads it', () => {
    const cases: [address: string, place: [host: string, port: number, tls: boolean] | undefined][] = [
      ['localhost', ['localhost', 443, false]],
      ['db:19531', ['db', 19531, false]],
      ['http://db:80', ['db', 80, false]],
      ['https://db', ['db', 443, true]],
      ['https://db:443', ['db', 443, true]],
      ['https://user:secret@db:19530', ['db', 19530, true]],
      ['[::1]:19530', ['::1', 19530, false]],
      ['http://', undefined],
    ];
    for (const [address, expected] of cases) {
      const place = milvusPlace(address);
      assert.deepEqual(place && [place.host, place.port, place.tls], expected, address);
      assert.ok(!place?.shown.includes('secret'));
    }
  });
});

test('the first bytes of an answer identify its protocol', () => {
  const cases: [bytes: Buffer, protocol: ReturnType<typeof recognise>][] = [
    [Buffer.from('HTTP/1.1 400 Bad Request\r\n'), 'http/1.1'],
    [Buffer.from('HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.'), 'tls'],
    [Buffer.from('HTTP/1.1 200 OK\r\n\r\n<html><a href="https://www.jaegertracing.io">'), 'http/1.1'],
    [Buffer.from([0x15, 3, 3, 0, 2, 2, 22]), 'tls'],
    [Buffer.from([0, 0, 6, 4, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0x40, 0]), 'http/2'],
    [Buffer.from('SSH-2.0-OpenSSH'), 'nothing'],
    [Buffer.from([0, 0]), undefined],
  ];
  for (const [bytes, protocol] of cases) assert.equal(recognise(bytes), protocol, bytes.toString('latin1'));
});

test('the marked span is read back by our receiver', () => {
  const [span, ...others] = exportedSpans(markedRequest('grpc', traceId, '1.2.3'));
  assert.deepEqual([span?.traceId, span?.name, others.length], [traceId, 'milvus-otel doctor', 0]);
  const json = JSON.parse(markedRequest('http/json', traceId, '1.2.3').toString());
  assert.equal(json.resourceSpans[0].scopeSpans[0].spans[0].traceId, traceId);
});

test('an answer without rejected spans means acceptance, even if it is not protobuf', () => {
  for (const bytes of [[], [0x0a, 0], [0xff, 0xff, 0xff]])
    assert.equal(answerIn(Buffer.from(bytes)).accepted, true);
});

describe('the join', () => {
  const clientId = '00f067aa0ba902b7';
  const client: FoundSpan = {
    spanId: clientId,
    parentSpanId: 'aaaaaaaaaaaaaaaa',
    name: 'getVersion default',
    kind: 'client',
    service: 'app',
    startMs: 1_000,
    endMs: 1_010,
    attributes: { 'db.system.name': 'milvus' },
  };
  const server: FoundSpan = {
    spanId: 'bbbbbbbbbbbbbbbb',
    parentSpanId: clientId,
    name: 'milvus.proto.milvus.MilvusService/GetVersion',
    kind: 'server',
    service: 'standalone',
    startMs: 1_002,
    endMs: 1_006,
    attributes: {},
  };
  const about = {
    traceId,
    serviceName: 'app',
    queryUrl: 'http://u:planted-pw@jaeger:16686',
    collector: 'jaeger:4317',
    milvusAddress: 'db:19530',
  };
  const found = (spans: FoundSpan[]) =>
    Object.fromEntries(joinFindings(spans, about).map((finding) => [finding.id, finding]));

  // getVersion default └─ standalone: MilvusService/GetVersion
  test('is found when the server’s span is a child of the client’s', () => {
    const findings = found([client, server]);
    assert.deepEqual(
      Object.values(findings).map(({ status }) => status),
      ['ok', 'ok', 'ok', 'ok'],
    );
    assert.match(findings['join.clock']?.found ?? '', /differ by -4\.0 to 2\.0 ms at most/);
  });

  // getVersion default · somebody: else └─ standalone: MilvusService/GetVersion
  test('is missing when the server’s span has another parent', () => {
    const findings = found([client, { ...server, parentSpanId: 'cccccccccccccccc' }]);
    assert.equal(findings['join.parent']?.status, 'failure');
    assert.match(findings['join.parent']?.found ?? '', /its parent is cccccccccccccccc/);
    assert.equal(findings['join.clock'], undefined);
  });

  test('names the side that is missing', () => {
    assert.equal(found([client])['join.server']?.status, 'failure');
    assert.match(found([server])['join.client']?.found ?? '', /send to different collectors/);
    assert.match(found([])['join.client']?.found ?? '', /passes them to another place/);
    assert.ok(!JSON.stringify(found([])).includes('planted-pw'));
  });

  // getVersion default └─ standalone: MilvusService/GetVersion └─ standalone: RootCoord/AllocTimestamp (a
  // client)
  test('takes no call inside of the server for the app’s span', () => {
    const inner: FoundSpan = {
      ...client,
      spanId: 'dddddddddddddddd',
      parentSpanId: server.spanId,
      name: 'milvus.proto.rootcoord.RootCoord/AllocTimestamp',
      service: server.service,
      attributes: { 'rpc.method': 'AllocTimestamp' },
    };
    assert.match(found([client, server, inner])['join.client']?.found ?? '', /"getVersion default"/);
    assert.match(found([server, inner])['join.client']?.found ?? '', /send to different collectors/);
  });

  test('measures the skew of the clocks from client and server', () => {
    for (const [shiftMs, text] of [
      [250, /the server's clock is 249\.0 ms ahead of the client's \(±3\.0 ms\)/],
      [-90, /the server's clock is 91\.0 ms behind the client's \(±3\.0 ms\)/],
    ] as const) {
      const shifted = { ...server, startMs: server.startMs + shiftMs, endMs: server.endMs + shiftMs };
      const clock = found([client, shifted])['join.clock'];
      assert.equal(clock?.status, 'warning');
      assert.match(clock.found, text);
      assert.match(clock.fix ?? '', /timedatectl/);
    }
  });

  test('has another fix for a managed Milvus', () => {
    assert.match(serverFix('c:4317', 'https://in01.aws-us-west-2.vectordb.zillizcloud.com'), /managed/);
    assert.match(serverFix('c:4317', 'db:19530'), /endpoint: c:4317 {3}# host:port without a scheme/);
  });
});

describe('the answer of a trace store', () => {
  const expected = {
    spanId: '00f067aa0ba902b7',
    parentSpanId: 'bbbbbbbbbbbbbbbb',
    name: 'search docs',
    kind: 'client',
    service: 'app',
    startMs: 1_700_000_000_000.123,
    endMs: 1_700_000_000_001.123,
  };

  test('is read when it comes from Jaeger', () => {
    const answer = {
      data: [
        {
          spans: [
            {
              spanID: 'f067aa0ba902b7',
              operationName: 'search docs',
              processID: 'p1',
              references: [{ refType: 'CHILD_OF', spanID: 'bbbbbbbbbbbbbbbb' }],
              startTime: 1_700_000_000_000_123,
              duration: 1_000,
              tags: [{ key: 'span.kind', value: 'client' }],
            },
          ],
          processes: { p1: { serviceName: 'app' } },
        },
      ],
    };
    const [span] = spansOf(answer) ?? [];
    assert.deepEqual({ ...span, attributes: undefined }, { ...expected, attributes: undefined });
    assert.deepEqual(spansOf({ data: null, errors: [{ code: 404, msg: 'trace not found' }] }), []);
  });

  test('is read when it comes from Tempo, with ids in base64 or in hex', () => {
    const answer = (encoding: 'base64' | 'hex') => ({
      batches: [
        {
          resource: { attributes: [{ key: 'service.name', value: { stringValue: 'app' } }] },
          scopeSpans: [
            {
              spans: [
                {
                  spanId: Buffer.from('00f067aa0ba902b7', 'hex').toString(encoding),
                  parentSpanId: Buffer.from('bbbbbbbbbbbbbbbb', 'hex').toString(encoding),
                  name: 'search docs',
                  kind: 'SPAN_KIND_CLIENT',
                  startTimeUnixNano: '1700000000000123000',
                  endTimeUnixNano: '1700000000001123000',
                },
              ],
            },
          ],
        },
      ],
    });
    for (const encoding of ['base64', 'hex'] as const) {
      const [span] = spansOf(answer(encoding)) ?? [];
      assert.deepEqual({ ...span, attributes: undefined }, { ...expected, attributes: undefined });
    }
  });

  test('is ignored when it comes from another program', () => {
    for (const answer of [null, 'text', {}, { status: 'ok' }, []]) assert.equal(spansOf(answer), undefined);
  });
});

test('an older Milvus gives a warning, and a failed call its reason', () => {
  const answer = {
    traceId,
    serviceName: 'app',
    sdkVersion: '3.0.6',
    version: 'v2.2.16',
    failure: null,
    complaints: ['milvus-otel: Spans cannot be sent'],
  };
  const findings = probeFindings(answer, 'db:19530');
  assert.deepEqual(
    findings.map(({ id, status }) => `${id} ${status}`),
    ['milvus.access ok', 'milvus.probe ok', 'milvus.probe warning', 'milvus.version warning'],
  );
  const failure = { step: 'Connect', code: 4, message: 'Deadline exceeded' };
  const [failed] = probeFindings({ ...answer, failure }, 'db:19530');
  assert.equal(failed?.found, 'Connect at db:19530 failed: Deadline exceeded');
});

describe('findings about an app', () => {
  const call = (traceparent: string | null, preloaded = true): RecordedEvent => ({
    pid: 1,
    kind: 'call',
    method: 'Search',
    traceparent,
    preloaded,
  });
  const start: RecordedEvent = { pid: 1, kind: 'start', node: '24.1.0', preloaded: false };
  const about = {
    spans: [],
    destination: 'http://c:4317 (grpc)',
    settingsFailure: undefined,
    howToKeepOutside: 'outside',
  };
  const statuses = (events: RecordedEvent[]) =>
    appFindings({ ...about, events }).map(({ id, status, found: text }) => `${id} ${status}: ${text}`);

  test('report a child process that the preload does not reach', () => {
    assert.match(
      statuses([start, call(null, false)]).join('\n'),
      /the preload was not loaded in that process/,
    );
  });

  test('report an SDK inside a bundle, whose own calls need no span', () => {
    const own = { ...call(null), method: 'DescribeCollection' };
    const findings = statuses([start, own]).join('\n');
    assert.match(findings, /app\.bundle warning: the SDK was not loaded as a package/);
    assert.doesNotMatch(findings, /app\.untraced/);
    const loaded: RecordedEvent = { pid: 1, kind: 'sdk', preloaded: true };
    assert.match(statuses([start, loaded, own]).join('\n'), /app\.untraced failure: 1 of 1/);
  });

  test('report a Node that is too old', () => {
    assert.match(
      statuses([{ ...start, node: '20.20.2', supported: false }]).join('\n'),
      /runs on Node 20\.20\.2, which is too old/,
    );
  });

  test('distinguish calls whose spans never arrived from those that were not sampled', () => {
    const lines = statuses([
      start,
      call(`00-${traceId}-00f067aa0ba902b7-01`),
      call(`00-${traceId}-00f067aa0ba902b8-00`),
    ]);
    assert.match(lines.join('\n'), /app\.lost failure: the spans of 1 of 2 Milvus calls were not exported/);
    assert.match(lines.join('\n'), /app\.untraced failure: 1 of 2 Milvus calls were not sampled/);
  });
});

describe('the verdict', () => {
  const ok = (id: Finding['id']): Finding => ({ id, status: 'ok', found: 'fine' });
  const broken = (id: Finding['id']): Finding => ({
    id,
    status: 'failure',
    found: 'it is down',
    fix: 'start it\nor not',
  });

  test('is the first broken stage in the order of the stages, whatever was found first', () => {
    const report = conclude(
      '1.0.0',
      new Map<Stage, Finding[]>([
        ['join', [broken('join.server')]],
        ['collector', [ok('collector.name'), broken('collector.tcp')]],
      ]),
    );
    assert.deepEqual(
      [report.verdict.stage, report.verdict.id, report.exitCode],
      ['collector', 'collector.tcp', EXIT.broken],
    );
    assert.equal(
      verdictLine(report.verdict, report.sound),
      'milvus-otel doctor: broken at collector (collector.tcp): it is down. Fix: start it (the lines above)',
    );
    assert.equal(
      reportText(report, false).trimEnd().split('\n').at(-1),
      verdictLine(report.verdict, report.sound),
    );
  });

  test('is sound only when the join was seen', () => {
    const joined = conclude('1.0.0', new Map<Stage, Finding[]>([['join', [ok('join.parent')]]]));
    assert.deepEqual([joined.sound, joined.exitCode], [true, EXIT.sound]);
    const unjoined = conclude('1.0.0', new Map<Stage, Finding[]>([['milvus', [ok('milvus.probe')]]]));
    assert.deepEqual([unjoined.sound, unjoined.exitCode], [false, EXIT.unproven]);
  });

  test('has colours only where they are wanted', () => {
    const report = conclude('1.0.0', new Map<Stage, Finding[]>([['milvus', [broken('milvus.tcp')]]]));
    assert.ok(!reportText(report, false).includes('\x1b'));
    assert.ok(reportText(report, true).includes('\x1b[31m'));
  });
});

describe('a proxy', () => {
  const proxyFindings = (env: Record<string, string>) =>
    checkSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector.test:4317', ...env })
      .findings.filter(({ id }) => id === 'settings.proxy')
      .map((finding) => finding.found);

  test('is reported where grpc-js reads the variable: in lower case only', () => {
    for (const name of ['grpc_proxy', 'https_proxy', 'http_proxy'])
      assert.match(proxyFindings({ [name]: 'http://proxy:3128' })[0] ?? '', new RegExp(`^${name}=`));
    for (const name of ['GRPC_PROXY', 'HTTPS_PROXY', 'HTTP_PROXY'])
      assert.deepEqual(proxyFindings({ [name]: 'http://proxy:3128' }), []);
  });

  test('is not reported for a collector that no_proxy or no_grpc_proxy names, and is for one that NO_PROXY does', () => {
    const https_proxy = 'http://proxy:3128';
    for (const name of ['no_proxy', 'no_grpc_proxy'])
      assert.deepEqual(proxyFindings({ https_proxy, [name]: 'localhost,collector.test' }), []);
    assert.equal(proxyFindings({ https_proxy, NO_PROXY: 'collector.test' }).length, 1);
  });

  test('concerns Milvus alone when spans go over HTTP', () => {
    const env = { https_proxy: 'http://proxy:3128', OTEL_EXPORTER_OTLP_PROTOCOL: 'http/protobuf' };
    assert.match(proxyFindings(env)[0] ?? '', /gRPC to Milvus goes through it/);
  });
});

describe('docs/doctor.md', () => {
  test('lists every check with its subject, every stage and every exit code', async () => {
    const page = await readFile(new URL('../../docs/doctor.md', import.meta.url), 'utf8');
    const rows = [...page.matchAll(/^\| `(\w+\.\w+)` \| (.*) \|$/gm)].map(([, id, about]) => [id, about]);
    assert.deepEqual(rows, Object.entries(CHECKS));
    for (const stage of STAGES) assert.ok(Object.keys(CHECKS).some((id) => id.startsWith(`${stage}.`)));
    const codes = [...page.matchAll(/^\| (\d) \| /gm)].map(([, code]) => Number(code));
    assert.deepEqual(codes, Object.values(EXIT).sort());
  });
});

describe('docs/troubleshooting.md', () => {
  /** The constant parts of the doctor's texts, between the values that are filled in. */
  async function texts(): Promise<string[][]> {
    const folder = new URL('../../src/', import.meta.url);
    const files = (await readdir(folder, { recursive: true })).filter((name) =>
      /^(doctor\/.*|sdk\/diagnostics|instrumentations\/selection)\.ts$/.test(name),
    );
    const sources = await Promise.all(files.map((name) => readFile(new URL(name, folder), 'utf8')));
    const literals = sources.flatMap((source) =>
      [
        ...source
          .replace(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
          .matchAll(/'((?:[^'\\\n]|\\.)+)'|"((?:[^"\\\n]|\\.)+)"|`((?:[^`\\]|\\.)+)`/g),
      ].map(([, single, double, template]) => single ?? double ?? template ?? ''),
    );
    return literals.map((literal) => literal.split(/\$\{(?:[^{}]|\{[^}]*\})*\}/).map((part) => part.trim()));
  }

  const isOf = (line: string, parts: string[]): boolean => {
    const known = parts.filter(({ length }) => length > 2);
    if (known.join('').length < 12) return false;
    const quoted = line
      .split('…')
      .map((part) => part.trim())
      .filter(({ length }) => length > 2);
    // The whole text with values in it, or a piece of it.
    return (
      known.every((part) => line.includes(part)) ||
      quoted.every((part) => parts.some((one) => one.includes(part)))
    );
  };

  test('quotes lines that the doctor can print, under ids that it has', async () => {
    const page = await readFile(new URL('../../docs/troubleshooting.md', import.meta.url), 'utf8');
    const quoted = [...page.matchAll(/`(\w+\.\w+): ([^`]+)`/g)].map(([, id = '', line = '']) => ({
      id,
      line,
    }));
    assert.ok(quoted.length > 25, `${quoted.length} lines`);
    const known = await texts();
    for (const { id, line } of quoted) {
      assert.ok(id in CHECKS, id);
      const where = `src/doctor has no text for "${id}: ${line}"`;
      assert.ok(
        known.some((parts) => isOf(line, parts)),
        where,
      );
    }
    assert.equal(
      known.some((parts) => isOf('… is a sentence of nobody', parts)),
      false,
    );
  });
});
