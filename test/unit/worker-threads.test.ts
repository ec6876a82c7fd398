/** Spans of worker threads: both sides of the relay. The test decides when a channel delivers. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { type ReadableSpan, SamplingDecision } from '@opentelemetry/sdk-trace';
import { readSettings } from '../../src/config/settings.ts';
import { tracesTarget } from '../../src/otlp/target.ts';
import { SpanQueue } from '../../src/trace/span-queue.ts';
import { SpansToMain, WorkersSpans } from '../../src/trace/worker-threads.ts';
import { endedSpans } from '../support/ended-spans.ts';

class Channel {
  onmessage: ((event: { data: unknown }) => void) | null = null;
  readonly inbox: unknown[] = [];
  readonly name: string;

  constructor(name: string) {
    this.name = name;
    channels.push(this);
  }

  postMessage(message: unknown): void {
    for (const other of channels)
      if (other !== this && other.name === this.name) other.inbox.push(structuredClone(message));
  }

  unref(): void {}
}

let channels: Channel[] = [];
let threadId = 0;

/** Lets a thread read its next messages. */
function read(channel: Channel, count = channel.inbox.length): void {
  for (const data of channel.inbox.splice(0, count)) channel.onmessage?.({ data });
}

/** Lets all threads read until no message is in transit. */
function deliver(): void {
  while (channels.some(({ inbox }) => inbox.length > 0)) for (const channel of channels) read(channel);
}

beforeEach((t) => {
  channels = [];
  const { getBuiltinModule } = process;
  const receiveMessageOnPort = ({ inbox }: Channel) =>
    inbox.length === 0 ? undefined : { message: inbox.shift() };
  (t as import('node:test').TestContext).mock.method(process, 'getBuiltinModule', (name: string) =>
    name === 'node:worker_threads'
      ? { threadId, BroadcastChannel: Channel, receiveMessageOnPort }
      : Reflect.apply(getBuiltinModule, process, [name]),
  );
});
afterEach(() => process.removeAllListeners('worker'));

const TARGET = tracesTarget(readSettings({}));
const OTHER = tracesTarget(readSettings({ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://other:4317' }));
const LIMITS = { maxQueueSize: 100_000, maxExportBatchSize: 100_000, scheduleDelayMs: 60_000 };

const newQueue = () => new SpanQueue(async () => ({ kind: 'accepted' }), LIMITS);

function mainThread(target = TARGET) {
  const queue = newQueue();
  const workers = new WorkersSpans(queue, () => target);
  return { queue, workers };
}

/** A worker that the main thread has started; the SDK in it is started too. */
function worker(id: number, { target = TARGET, resource = RESOURCE } = {}) {
  process.emit('worker', {} as never);
  threadId = id;
  const queue = newQueue();
  const processor = new SpansToMain(queue, target, resource);
  const end = (spans: readonly ReadableSpan[]) => {
    for (const span of spans) processor.onEnd(span);
  };
  return { queue, end };
}

const RESOURCE = resourceFromAttributes(
  { 'service.name': 'in a worker' },
  { schemaUrl: 'https://schema.example/1' },
);
const spansOf = (queue: SpanQueue) => queue.takeUnsent().flatMap(({ spans }) => spans);
const namesIn = (queue: SpanQueue) => spansOf(queue).map(({ name }) => name);

test("a worker's spans go to the main thread with their own resource, those from before the answer first", () => {
  const main = mainThread();
  const { queue, end } = worker(1);
  const spans = endedSpans(4, RESOURCE);
  end(spans.slice(0, 2));
  assert.equal(queue.unsent, 2, 'kept until the main thread has answered');
  deliver();
  end(spans.slice(2));
  deliver();
  assert.equal(queue.unsent, 0);
  const received = spansOf(main.queue);
  assert.deepEqual(
    received.map(({ name }) => name),
    ['s0', 's1', 's2', 's3'],
  );
  for (const [at, span] of received.entries()) {
    assert.deepEqual(span.resource.attributes, { 'service.name': 'in a worker' });
    assert.equal(span.resource.schemaUrl, 'https://schema.example/1');
    assert.equal(span.spanContext().spanId, spans[at]?.spanContext().spanId);
  }
  assert.equal(new Set(received.map(({ instrumentationScope }) => instrumentationScope)).size, 1);
});

test('spans of several workers keep the resource of their thread', () => {
  const main = mainThread();
  const workers = ['a', 'b'].map((name, id) => {
    const resource = resourceFromAttributes({ 'service.name': name });
    return { ...worker(id + 1, { resource }), spans: endedSpans(2, resource) };
  });
  deliver();
  for (const { end, spans } of workers) end(spans);
  deliver();
  assert.deepEqual(
    spansOf(main.queue).map(({ resource }) => resource.attributes['service.name']),
    ['a', 'a', 'b', 'b'],
  );
});

test('threads with the same resource share it in the main thread: an app may start any number of them', () => {
  const main = mainThread();
  for (const id of [1, 2]) {
    const { end } = worker(id, { resource: resourceFromAttributes({ 'service.name': 'same' }) });
    deliver();
    end(endedSpans(1));
  }
  deliver();
  const [one, other] = spansOf(main.queue);
  assert.ok(one !== undefined && one.resource === other?.resource);
});

test('a worker whose SDK was started before the main thread listens is asked to join', () => {
  threadId = 1;
  const alone = newQueue();
  const processor = new SpansToMain(alone, TARGET, RESOURCE);
  for (const span of endedSpans(1, RESOURCE)) processor.onEnd(span);
  deliver();
  assert.equal(alone.unsent, 1);
  const main = mainThread();
  process.emit('worker', {} as never);
  deliver();
  assert.deepEqual([alone.unsent, namesIn(main.queue)], [0, ['s0']]);
});

test('a worker with another target sends its spans itself', () => {
  const main = mainThread(OTHER);
  const { queue, end } = worker(1);
  deliver();
  end(endedSpans(2, RESOURCE));
  deliver();
  assert.deepEqual([main.queue.unsent, namesIn(queue)], [0, ['s0', 's1']]);
});

test('a worker that delivers no message, as it is busy from its start on, reads the answer with its first span', () => {
  const main = mainThread();
  const { queue, end } = worker(1);
  for (const channel of channels.slice(0, 1)) read(channel);
  end(endedSpans(2, RESOURCE));
  assert.equal(queue.unsent, 0);
  deliver();
  assert.deepEqual(namesIn(main.queue), ['s0', 's1']);
});

test('without a main thread that answers, a worker sends its spans itself', () => {
  const { queue, end } = worker(1);
  deliver();
  end(endedSpans(2, RESOURCE));
  assert.equal(queue.unsent, 2);
});

test('a span that is not sampled is not posted', () => {
  const main = mainThread();
  const { queue, end } = worker(1);
  deliver();
  end(endedSpans(1, RESOURCE));
  deliver();
  end(endedSpans(1, RESOURCE, SamplingDecision.RECORD));
  assert.ok(channels.every(({ inbox }) => inbox.length === 0));
  assert.deepEqual([main.queue.unsent, queue.unsent], [1, 0]);
});

test('spans wait in the worker for the asynchronous attributes of their resource', async () => {
  const main = mainThread();
  const { promise, resolve } = Promise.withResolvers<string>();
  const resource = resourceFromAttributes({ 'host.id': promise });
  const { queue, end } = worker(1, { resource });
  deliver();
  end(endedSpans(2, resource));
  deliver();
  assert.deepEqual([main.queue.unsent, queue.unsent], [0, 2]);
  resolve('h');
  await new Promise(setImmediate);
  deliver();
  assert.equal(queue.unsent, 0);
  assert.deepEqual(
    spansOf(main.queue).map(({ resource }) => resource.attributes),
    [{ 'host.id': 'h' }, { 'host.id': 'h' }],
  );
});

test('only a span with an attribute that cannot be posted stays in the worker', () => {
  const main = mainThread();
  const { queue, end } = worker(1);
  deliver();
  const [first, second, third] = endedSpans(3, RESOURCE) as [ReadableSpan, ReadableSpan, ReadableSpan];
  const withFunction = Object.create(second, { attributes: { value: { callback: () => {} } } });
  end([first, withFunction, third]);
  deliver();
  assert.deepEqual([namesIn(main.queue), namesIn(queue)], [['s0', 's2'], ['s1']]);
});

test('a worker posts a limited number of spans that the main thread has not read, and keeps the others', () => {
  const main = mainThread();
  const { queue, end } = worker(1);
  const [span] = endedSpans(1, RESOURCE) as [ReadableSpan];
  end([span]);
  deliver();
  end(Array(20_000).fill(span));
  const kept = queue.unsent;
  assert.ok(kept > 10_000, `${kept} kept`);
  deliver();
  assert.equal(main.queue.unsent, 20_001 - kept);
  end([span]);
  deliver();
  assert.equal(queue.unsent, kept, 'what the main thread has read makes room');
  assert.equal(main.queue.unsent, 20_002 - kept);
});

test('the spans of one worker that the main thread has read make no room in another', () => {
  mainThread();
  const [span] = endedSpans(1, RESOURCE) as [ReadableSpan];
  const [one, other] = [worker(1), worker(2)];
  for (const { end } of [one, other]) end([span]);
  deliver();
  const [ofMain, ...ofWorkers] = channels as [Channel, ...Channel[]];
  one.end(Array(20_000).fill(span));
  const ofOne = ofMain.inbox.length;
  other.end(Array(20_000).fill(span));
  const before = [one.queue.unsent, other.queue.unsent];
  read(ofMain, ofOne);
  for (const channel of ofWorkers) read(channel);
  for (const { end } of [one, other]) end([span]);
  assert.deepEqual([one.queue.unsent, other.queue.unsent], [before[0], (before[1] as number) + 1]);
});

test('messages that the event loop has not delivered are read at exit', () => {
  const main = mainThread();
  main.workers.drain();
  const { end } = worker(1);
  end(endedSpans(1, RESOURCE));
  deliver();
  end(endedSpans(3, RESOURCE));
  assert.equal(main.queue.unsent, 1);
  main.workers.drain();
  assert.equal(main.queue.unsent, 4);
});
