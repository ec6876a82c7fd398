// Sends questions to a running service at a steady rate, and prints how long the answers took.
//   node load.mjs --requests-per-second 20 --seconds 10
import { parseArgs } from 'node:util';

const usage = `node load.mjs [options]

  --url URL                  the service (default http://localhost:3000)
  --requests-per-second N    how many questions are sent each second, whether or not earlier ones are answered (20)
  --seconds N                for how long (10)
  --fresh                    ask for what was added a moment ago, too: Milvus then waits (Strong consistency)
  --help                     this text

Ctrl-C ends it early, with the figures so far. Exit code 1 when a request failed.`;

const questions = [
  'What is the difference between a client span and a server span?',
  'Why is strong consistency slow?',
  'How does HNSW find neighbours?',
  'What does the network gap tell?',
  'Which sampling keeps errors?',
  'How are documents split before they are embedded?',
  'What is recall?',
  'How does a trace join two services?',
];
const answerDeadlineMs = 30_000;
const signEveryMs = 5_000;

class UsageError extends Error {}

function readOptions() {
  const { values } = parseArgs({
    options: {
      url: { type: 'string', default: 'http://localhost:3000' },
      'requests-per-second': { type: 'string', default: '20' },
      seconds: { type: 'string', default: '10' },
      fresh: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  const positive = (name) => {
    const value = Number(values[name]);
    if (!(value > 0 && value < Infinity))
      throw new UsageError(`--${name} ${values[name]}: needs a number above 0`);
    return value;
  };
  if (!URL.canParse(values.url))
    throw new UsageError(`--url ${values.url}: needs a URL such as http://localhost:3000`);
  return {
    help: values.help,
    fresh: values.fresh,
    askUrl: new URL('/ask', values.url),
    requestsPerSecond: positive('requests-per-second'),
    seconds: positive('seconds'),
  };
}

/** Gives the time until the whole answer was there, in ms; rejects for anything but an answer. */
async function ask(url, question, fresh) {
  const startMs = performance.now();
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ question, fresh }),
    signal: AbortSignal.timeout(answerDeadlineMs),
  });
  const body = await response.json();
  if (!response.ok) throw new Error(`${response.status} ${body.error}`);
  return performance.now() - startMs;
}

/** Sends at fixed times: a service that slows down shall not slow down its own measurement. */
async function run({ askUrl, requestsPerSecond, seconds, fresh }) {
  const total = Math.max(1, Math.round(requestsPerSecond * seconds));
  const startMs = performance.now();
  const durationsMs = [];
  const failures = new Map();
  const answers = [];
  let sent = 0;

  await new Promise((resolve) => {
    const send = () => {
      const dueCount = Math.floor(((performance.now() - startMs) / 1000) * requestsPerSecond) + 1;
      while (sent < Math.min(dueCount, total)) {
        const question = questions[sent % questions.length];
        sent += 1;
        answers.push(
          ask(askUrl, question, fresh).then(
            (durationMs) => durationsMs.push(durationMs),
            (error) => {
              const reason = error.cause?.code ?? error.message;
              failures.set(reason, (failures.get(reason) ?? 0) + 1);
            },
          ),
        );
      }
      if (sent === total) end();
    };
    const end = () => {
      clearInterval(timer);
      clearInterval(signs);
      resolve();
    };
    const timer = setInterval(send, Math.max(1, Math.min(50, 1000 / requestsPerSecond)));
    const signs = setInterval(() => console.error(`${sent} of ${total} asked`), signEveryMs);
    process.once('SIGINT', end);
    send();
  });
  await Promise.all(answers);
  return { sent, durationsMs, failures, elapsedMs: performance.now() - startMs };
}

function report({ sent, durationsMs, failures, elapsedMs }) {
  const sorted = durationsMs.toSorted((a, b) => a - b);
  const atPercentile = (percent) => sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)];
  const rate = ((durationsMs.length / elapsedMs) * 1000).toFixed(1);
  console.log(
    `${durationsMs.length} of ${sent} answered in ${(elapsedMs / 1000).toFixed(1)} s, ${rate} a second`,
  );
  if (sorted.length > 0) {
    const figures = [50, 95, 99, 100].map((percent) => {
      const name = percent === 100 ? 'slowest' : `p${percent}`;
      return `${name} ${atPercentile(percent).toFixed(1)} ms`;
    });
    console.log(figures.join(', '));
  }
  for (const [reason, count] of failures) console.error(`${count} failed: ${reason}`);
}

try {
  const options = readOptions();
  if (options.help) {
    console.log(usage);
  } else {
    const result = await run(options);
    report(result);
    if (result.failures.size > 0) process.exitCode = 1;
  }
} catch (error) {
  const isUsage = error instanceof UsageError || error.code?.startsWith('ERR_PARSE_ARGS');
  console.error(isUsage ? `load: ${error.message}\n\n${usage}` : `load: ${error.message}`);
  process.exitCode = isUsage ? 2 : 1;
}
