/** The dashboard and the alerts of compose/production, as files: what Grafana and Prometheus need to find. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import { parse } from 'yaml';

const root = path.join(import.meta.dirname, '..', '..');
const folder = path.join(root, 'compose', 'production');
const read = (...file: string[]) => readFileSync(path.join(folder, ...file), 'utf8');
const { services, volumes } = parse(read('docker-compose.yml'));
const dashboard = JSON.parse(read('grafana', 'dashboards', 'milvus.json'));
const { datasources } = parse(read('grafana', 'provisioning', 'datasources', 'datasources.yaml'));
const prometheus = parse(read('prometheus', 'prometheus.yml'));
const rules: any[] = parse(read('prometheus', 'alerts.yml')).groups.flatMap((group: any) => group.rules);
const panels: any[] = dashboard.panels;
const charts = panels.filter(({ type }) => type !== 'row');

describe('the dashboard', () => {
  test('has panels with ids that differ, inside the grid and not on top of each other', () => {
    assert.equal(new Set(panels.map(({ id }) => id)).size, panels.length);
    const taken = new Map<string, string>();
    for (const { title, gridPos } of panels) {
      assert.ok(gridPos.x + gridPos.w <= 24, title);
      for (let x = gridPos.x; x < gridPos.x + gridPos.w; x++)
        for (let y = gridPos.y; y < gridPos.y + gridPos.h; y++) {
          assert.equal(taken.get(`${x},${y}`), undefined, `${title} is on top of another panel`);
          taken.set(`${x},${y}`, title);
        }
    }
  });

  test('queries datasources that are provisioned', () => {
    const uids = datasources.map(({ uid }: any) => uid);
    const asked = [
      ...charts.flatMap(({ datasource, targets }) => [
        datasource,
        ...targets.map((target: any) => target.datasource),
      ]),
      ...dashboard.templating.list.map(({ datasource }: any) => datasource),
    ];
    for (const { uid } of asked) assert.ok(uids.includes(uid), uid);
  });

  test('names the thing to check in each panel without data', () => {
    for (const { title, fieldConfig } of charts) assert.ok(fieldConfig.defaults.noValue?.length > 20, title);
  });

  test('has a unit for each figure, and a title for each column of a table', () => {
    for (const { title, type, targets, fieldConfig } of charts) {
      if (type !== 'table') assert.ok(fieldConfig.defaults.unit, title);
      else
        assert.deepEqual(
          fieldConfig.overrides.map(({ matcher }: any) => matcher.options),
          targets.map(({ refId }: any) => `Value #${refId}`),
        );
    }
  });

  test('links points to traces in Jaeger', () => {
    const [metrics, traces] = datasources;
    assert.deepEqual(
      metrics.jsonData.exemplarTraceIdDestinations.map(({ name, datasourceUid }: any) => [
        name,
        datasourceUid,
      ]),
      [['trace_id', traces.uid]],
    );
    assert.equal(traces.type, 'jaeger');
    assert.equal(charts.flatMap(({ targets }) => targets).filter(({ exemplar }) => exemplar).length, 1);
  });
});

describe('the alerts', () => {
  test('have a severity, a summary, and a section of the documents with the fix', () => {
    for (const { alert, labels, annotations } of rules) {
      assert.match(labels.severity, /^(critical|warning)$/, alert);
      assert.ok(annotations.summary, alert);
      const [file, heading] = annotations.runbook.split('#');
      const page = readFileSync(path.join(root, file), 'utf8');
      assert.equal(heading, alert.toLowerCase());
      assert.match(page, new RegExp(`^### ${alert}$`, 'm'));
    }
  });

  test('of slow calls covers the operations whose means the dashboard compares with the server', () => {
    const [operations] = /db_operation_name=~"[^"]+"/.exec(
      rules.find(({ alert }) => alert === 'MilvusSlowCalls').expr,
    ) as RegExpExecArray;
    const panel = charts.find(({ title }) => title === 'Mean duration of a call');
    assert.ok(panel.targets[0].expr.includes(operations));
  });
});

describe('Prometheus and Grafana in docker-compose.yml', () => {
  test('find each other and their sources by the names of the services', () => {
    const targets = prometheus.scrape_configs.flatMap(({ static_configs }: any) =>
      static_configs.flatMap((one: any) => one.targets),
    );
    assert.deepEqual(targets, ['collector:8888', 'collector:8889', 'jaeger:8888']);
    const urls = datasources.map(({ url }: any) => new URL(url).hostname);
    for (const host of [...urls, ...targets.map((target: string) => target.split(':')[0])])
      assert.ok(host in services, host);
  });

  test('mount the files that they are configured to read', () => {
    const mounts = (service: string) =>
      services[service].volumes.map((one: string) => one.split(':').slice(0, 2));
    assert.deepEqual(Object.fromEntries(mounts('prometheus')), {
      './prometheus/prometheus.yml': '/etc/prometheus/prometheus.yml',
      './prometheus/alerts.yml': prometheus.rule_files[0],
      'prometheus-data': '/prometheus',
    });
    const [{ options }] = parse(read('grafana', 'provisioning', 'dashboards', 'dashboards.yaml')).providers;
    assert.deepEqual(Object.fromEntries(mounts('grafana')), {
      './grafana/grafana.ini': '/etc/grafana/grafana.ini',
      './grafana/provisioning': '/etc/grafana/provisioning',
      './grafana/dashboards': options.path,
      'grafana-data': '/var/lib/grafana',
    });
    assert.ok(read('grafana', 'grafana.ini').includes(`${options.path}/milvus.json`));
    for (const name of ['prometheus-data', 'grafana-data']) assert.ok(name in volumes, name);
  });

  test('have no password in the repository', () => {
    assert.doesNotMatch(read('grafana', 'grafana.ini'), /^\s*(admin_)?password/m);
    assert.match(read('grafana', 'grafana.ini'), /^disable_initial_admin_creation = true$/m);
    // Only a password from the environment creates an administrator.
    const { environment } = services.grafana;
    assert.equal(environment.GF_SECURITY_ADMIN_PASSWORD, `\${GRAFANA_ADMIN_PASSWORD:-}`);
    assert.equal(environment.GF_SECURITY_DISABLE_INITIAL_ADMIN_CREATION, `\${GRAFANA_ADMIN_PASSWORD:+false}`);
  });

  test('listen on this machine only, on ports that can be changed', () => {
    assert.deepEqual(services.prometheus.ports, [`127.0.0.1:\${PROMETHEUS_PORT:-9090}:9090`]);
    assert.deepEqual(services.grafana.ports, [`127.0.0.1:\${GRAFANA_PORT:-3000}:3000`]);
  });
});
