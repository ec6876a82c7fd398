/** Builds the Grafana dashboard of compose/production from panels.ts, with the types of Grafana's schema. */
import {
  type Dashboard,
  DashboardCursorSync,
  type FieldConfig,
  MappingType,
  type Panel,
  type RowPanel,
  ThresholdsMode,
  VariableRefresh,
  VariableSort,
} from '@grafana/schema';
import { NO_DATA, type PanelRow, SECTIONS } from './panels.ts';

/** As compose/production/grafana/provisioning names them. */
const PROMETHEUS = { type: 'prometheus', uid: 'prometheus' };
const heights: Record<PanelRow['type'], number> = { stat: 4, timeseries: 8, table: 9 };
const columns = 24;

export function dashboard(): Dashboard {
  return {
    uid: 'milvus-otel',
    title: 'Milvus calls',
    description: 'Rate, errors and duration of the Milvus calls of all apps, from their spans and metrics.',
    tags: ['milvus', 'opentelemetry'],
    schemaVersion: 41,
    editable: true,
    graphTooltip: DashboardCursorSync.Crosshair,
    refresh: '30s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        variable(
          'service',
          'Service',
          'traces_span_metrics_calls_total{span_kind="SPAN_KIND_CLIENT"}',
          'service_name',
        ),
        variable(
          'collection',
          'Collection',
          'traces_span_metrics_calls_total{service_name=~"$service"}',
          'db_collection_name',
        ),
      ],
    },
    panels: placedPanels(),
  };
}

function variable(name: string, label: string, metric: string, values: string) {
  return {
    name,
    label,
    type: 'query' as const,
    datasource: PROMETHEUS,
    query: { query: `label_values(${metric}, ${values})`, refId: name },
    refresh: VariableRefresh.onTimeRangeChanged,
    sort: VariableSort.alphabeticalAsc,
    multi: true,
    includeAll: true,
    // Includes series without the label, such as operations without a collection.
    allValue: '.*',
    current: { text: 'All', value: '$__all' },
  };
}

/** Sections below each other, panels from left to right. */
function placedPanels(): (Panel | RowPanel)[] {
  const placed: (Panel | RowPanel)[] = [];
  let id = 1;
  let y = 0;
  for (const { title, panels } of SECTIONS) {
    placed.push({
      id: id++,
      type: 'row',
      title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y: y++, w: columns, h: 1 },
    });
    let x = 0;
    let rowHeight = 0;
    for (const row of panels) {
      if (x + row.width > columns) {
        y += rowHeight;
        x = 0;
        rowHeight = 0;
      }
      const h = heights[row.type];
      placed.push({ id: id++, ...panel(row), gridPos: { x, y, w: row.width, h } });
      x += row.width;
      rowHeight = Math.max(rowHeight, h);
    }
    y += rowHeight;
  }
  return placed;
}

function panel(row: PanelRow): Panel {
  const { title, type, description, queries } = row;
  const isRange = type === 'timeseries';
  return {
    title,
    type,
    ...(description === '' ? {} : { description }),
    datasource: PROMETHEUS,
    targets: queries.map(({ expr, legend, exemplars = false }, index) => ({
      refId: refId(index),
      datasource: PROMETHEUS,
      editorMode: 'code',
      expr,
      legendFormat: legend,
      range: isRange,
      instant: !isRange,
      exemplar: exemplars,
      ...(type === 'table' ? { format: 'table' } : {}),
    })),
    fieldConfig: { defaults: fieldDefaults(row), overrides: type === 'table' ? columnOverrides(row) : [] },
    ...(type === 'table' ? { transformations: tableOf(row) } : {}),
    options: panelOptions(type),
  };
}

const refId = (index: number) => String.fromCharCode('A'.charCodeAt(0) + index);

function fieldDefaults({ type, unit, source, noData, mappings, redFrom }: PanelRow): FieldConfig {
  return {
    noValue: noData ?? NO_DATA[source],
    ...(typeof unit === 'string' ? { unit } : {}),
    ...(mappings === undefined
      ? {}
      : { mappings: [{ type: MappingType.ValueToText as const, options: mappings }] }),
    thresholds: {
      mode: ThresholdsMode.Absolute,
      steps: [
        { color: 'green', value: null },
        ...(redFrom === undefined ? [] : [{ color: 'red', value: redFrom }]),
      ],
    },
    ...(type === 'timeseries' ? { min: 0, custom: { fillOpacity: 5, showPoints: 'never' } } : {}),
  };
}

function panelOptions(type: PanelRow['type']): Record<string, unknown> {
  if (type === 'stat') return { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value' };
  if (type === 'table') return { cellHeight: 'sm' };
  return {
    legend: { displayMode: 'list', placement: 'bottom', showLegend: true },
    tooltip: { mode: 'multi', sort: 'desc' },
  };
}

/** A column for each query, in the order of the queries. */
function columnOverrides({ queries, unit }: PanelRow) {
  return queries.map(({ legend }, index) => ({
    matcher: { id: 'byName', options: `Value #${refId(index)}` },
    properties: [
      { id: 'displayName', value: legend },
      { id: 'unit', value: unit[index] },
    ],
  }));
}

/** Joins the queries by their labels. */
function tableOf({ queries }: PanelRow) {
  return [
    { id: 'merge', options: {} },
    {
      id: 'organize',
      options: {
        excludeByName: { Time: true },
        renameByName: { db_operation_name: 'Operation', db_collection_name: 'Collection', rpc: 'Operation' },
        indexByName: Object.fromEntries(
          [
            'db_operation_name',
            'db_collection_name',
            'rpc',
            ...queries.map((_, index) => `Value #${refId(index)}`),
          ].map((name, index) => [name, index]),
        ),
      },
    },
  ];
}
