/**
 * Runs a task, scripts/<task>.ts, with the project's own Node, after making node_modules match
 * package-lock.json. Plain JavaScript for any Node from 18 on: it runs before anything is installed.
 */
import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { constants } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

const root = path.join(path.dirname(fileURLToPath(import.meta.url)), '..');
const devNode = path.join(root, 'node_modules', 'node', 'bin', 'node');
/** MILVUS_OTEL_NODE=system runs the tasks with the Node of this process: for a matrix of Node versions. */
const taskNode = process.env.MILVUS_OTEL_NODE === 'system' ? process.execPath : devNode;

/** Name of the task → name of its npm script, from package.json. */
function readTasks() {
  const { scripts } = readJson('package.json');
  const rows = Object.entries(scripts).map(([script, command]) => [
    /^node scripts\/run\.mjs (\S+)$/.exec(command)?.[1],
    script,
  ]);
  // The first script of a task is for users; others are npm's hooks.
  return new Map(rows.filter(([task]) => task !== undefined).reverse());
}

function readJson(file) {
  return JSON.parse(readFileSync(path.join(root, file), 'utf8'));
}

/** npm keeps a copy of the lock file in node_modules, without packages for other systems. */
function dependenciesFit() {
  if (!existsSync(devNode) || !existsSync(path.join(root, 'node_modules', '.package-lock.json')))
    return false;
  const wanted = readJson('package-lock.json').packages;
  const installed = readJson('node_modules/.package-lock.json').packages;
  return Object.entries(wanted).every(([folder, { version, integrity, optional }]) => {
    const found = installed[folder];
    if (folder === '') return true;
    if (found === undefined) return optional === true;
    return found.version === version && found.integrity === integrity;
  });
}

/** Resolves to the exit code. A signal that kills the child also kills this process. */
function run(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: root, stdio: 'inherit' });
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    const forward = (signal) => child.kill(signal);
    for (const signal of signals) process.on(signal, forward);
    child.once('error', (error) => {
      console.error(`${command} cannot be run: ${error.message}`);
      resolve(1);
    });
    child.once('exit', (code, signal) => {
      for (const name of signals) process.removeListener(name, forward);
      if (signal !== null) process.kill(process.pid, signal);
      resolve(code ?? 128 + constants.signals[signal]);
    });
  });
}

async function installDependencies() {
  console.error('Installing the dependencies that package-lock.json names (npm ci)');
  // npm sets npm_execpath for scripts; otherwise PATH finds `npm`.
  const npm = process.env.npm_execpath;
  const code = npm?.endsWith('npm-cli.js')
    ? await run(process.execPath, [npm, 'ci'])
    : await run('npm', ['ci']);
  if (code !== 0) {
    console.error(`npm ci ended with code ${code}: see its message above, fix the cause and run this again`);
    return code;
  }
  if (!existsSync(devNode)) {
    console.error(
      'npm ci installed no Node binary into node_modules/node: ' +
        "allow install scripts (npm config set ignore-scripts false), then run 'npm ci' and this again",
    );
    return 1;
  }
  return 0;
}

async function main() {
  const [task, ...args] = process.argv.slice(2);
  const tasks = readTasks();
  if (task === undefined || task === '--help' || task === '-h' || !tasks.has(task)) {
    const asked = task === '--help' || task === '-h';
    if (!asked) console.error(task === undefined ? 'Which task?' : `There is no task "${task}".`);
    const lines = [...tasks.values()].map((script) => `  npm run ${script}`);
    const help = `Tasks, each with more options by \`-- --help\`:\n${lines.reverse().join('\n')}`;
    if (asked) console.log(help);
    else console.error(help);
    return asked ? 0 : 2;
  }
  const code = dependenciesFit() ? 0 : await installDependencies();
  return code === 0 ? await run(taskNode, [path.join(root, 'scripts', `${task}.ts`), ...args]) : code;
}

process.exitCode = await main();
