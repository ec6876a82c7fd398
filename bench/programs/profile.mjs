// Preloaded first by `npm run bench -- --profile`. BENCH_PROFILE selects the recording, written to
// BENCH_PROFILE_FILE: `start` and `search` are CPU profiles, of the whole process or from the first counted
// search on; `allocation` is a sampling heap profile from the first counted search on, including collected
// objects; `heap` is a heap snapshot at the end.
import { writeFileSync } from 'node:fs';
import { Session } from 'node:inspector';
import { writeHeapSnapshot } from 'node:v8';

const { BENCH_PROFILE: what, BENCH_PROFILE_FILE: file } = process.env;
const session = new Session();
session.connect();

/** Commands to the same thread are answered synchronously. */
function command(method, parameters) {
  let answer;
  session.post(method, parameters, (error, result) => {
    if (error) throw error;
    answer = result;
  });
  return answer;
}

const recorders = {
  start: {
    begin() {
      command('Profiler.enable');
      command('Profiler.setSamplingInterval', { interval: 100 });
      command('Profiler.start');
    },
    end: () => writeFileSync(file, JSON.stringify(command('Profiler.stop').profile)),
  },
  allocation: {
    begin: () =>
      command('HeapProfiler.startSampling', {
        samplingInterval: 8192,
        includeObjectsCollectedByMajorGC: true,
        includeObjectsCollectedByMinorGC: true,
      }),
    end: () => writeFileSync(file, JSON.stringify(command('HeapProfiler.stopSampling').profile)),
  },
  heap: { begin() {}, end: () => writeHeapSnapshot(file) },
};
const { begin, end } = recorders[what === 'search' ? 'start' : what];

if (what === 'start') begin();
// The first `go` of the bench is the first counted search.
else if (what !== 'heap') process.stdin.once('data', begin);
process.once('exit', end);
