/** `npm run check`: format, lint, types and generated files, without server or network. */
import { spawnSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const require = createRequire(import.meta.url);

const bin = (packageName: string, file: string) =>
  join(dirname(require.resolve(`${packageName}/package.json`)), file);

const steps: [title: string, args: string[]][] = [
  [
    'format and lint',
    [bin('@biomejs/biome', 'bin/biome'), 'ci', `--colors=${process.stdout.isTTY ? 'force' : 'off'}`, '.'],
  ],
  ['types', [bin('typescript', 'bin/tsc'), '--project', '.']],
  ['types of what runs in a browser', [bin('typescript', 'bin/tsc'), '--project', 'tsconfig.browser.json']],
  ['generated documents', ['scripts/docs.ts', '--check']],
];

const failed = steps.filter(([title, args]) => {
  console.log(`${title} …`);
  return spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status !== 0;
});
if (failed.length > 0) {
  console.error(`Failed: ${failed.map(([title]) => title).join(', ')}`);
  process.exitCode = 1;
}
