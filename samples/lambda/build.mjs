// dist/function: the handler, with the SDK next to it. dist/layer: the preload, which Lambda mounts in /opt.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

const { dependencies } = JSON.parse(readFileSync('package.json', 'utf8'));
/** The package, or the absolute path of the packed file. */
const preload = process.argv[2] ?? 'milvus-otel';

function install(folder, ...packages) {
  mkdirSync(folder, { recursive: true });
  const options = ['--omit=dev', '--no-save', '--no-package-lock', '--no-audit', '--no-fund'];
  execFileSync('npm', ['install', '--prefix', folder, ...options, ...packages], { stdio: 'inherit' });
}

rmSync('dist', { recursive: true, force: true });
await build({
  entryPoints: ['handler.ts'],
  outfile: 'dist/function/index.mjs',
  bundle: true,
  platform: 'node',
  target: 'node22',
  format: 'esm',
  // The preload can patch the SDK only as a package outside the bundle.
  external: Object.keys(dependencies),
});
install('dist/function', ...Object.entries(dependencies).map(([name, version]) => `${name}@${version}`));
install('dist/layer/nodejs', preload);
