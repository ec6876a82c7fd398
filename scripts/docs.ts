/** `npm run docs`: writes the generated documents, or compares them with the disk. */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { checkDocs, writeDocs } from '../tools/docs/generate.ts';

const help = `npm run docs              writes generated files and parts: env.example, samples/kubernetes/configmap.yaml, Grafana's
                          dashboard, tables in README.md and docs/
npm run docs -- --check   fails when a file on disk differs, and prints the line`;

/** Resolves to the exit code. */
async function main(): Promise<number> {
  const { values } = parseArgs({
    options: { check: { type: 'boolean' }, help: { type: 'boolean', short: 'h' } },
  });
  if (values.help) {
    console.log(help);
    return 0;
  }
  const root = path.join(import.meta.dirname, '..');
  if (values.check) {
    const differences = await checkDocs(root);
    for (const difference of differences) console.error(difference);
    if (differences.length > 0) console.error('Run npm run docs, and commit what it writes.');
    return differences.length === 0 ? 0 : 1;
  }
  for (const file of await writeDocs(root)) console.log(`Wrote ${file}`);
  return 0;
}

try {
  process.exitCode = await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}
