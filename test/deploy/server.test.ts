/** What the files in deploy/ expect of the server: its options, its metrics. */
import { parse } from 'yaml';
import { serveCommand } from '../../lib/cli/serve';
import { METRIC_NAMES } from '../../lib/server/metrics';
import { files, read } from './tools';

describe('options', () => {
  const known = serveCommand().options.map(({ long }) => long!);
  const placed = [
    'docker/Dockerfile',
    'systemd/tramontane.service',
    ...files('compose', '.yaml'),
    ...files('kubernetes', '.yaml'),
    ...files('llm-d', 'kustomization.yaml'),
    ...files('skypilot', '.yaml'),
  ];
  /** Of other programs: docker run, curl, apt-get, npm, sha256sum. */
  const others = [
    ...['--read-only', '--gpus', '--env', '--volume', '--rm', '--stop-timeout', '--preserve-env'],
    ...['--fail', '--location', '--retry', '--continue-at', '--output', '--secret', '--endpoint'],
    ...['--no-install-recommends', '--ignore-scripts', '--no-audit', '--no-fund', '--from'],
    ...['--interval', '--timeout', '--start-period', '--retries', '--ip'],
  ];

  test.each(placed)('%s uses those that serve has', (path) => {
    const used = [...read(path).matchAll(/(?<![\w-])--[a-z][\w-]*/g)].map(([option]) => option);
    expect(used.filter((option) => ![...known, ...others].includes(option))).toEqual([]);
  });
});

describe('metrics', () => {
  interface Panel {
    readonly targets?: readonly { readonly expr: string }[];
  }
  interface Dashboard {
    readonly panels: readonly Panel[];
    readonly templating: { readonly list: readonly { readonly query?: unknown }[] };
  }
  interface ScaledObject {
    readonly spec: {
      readonly triggers: readonly { readonly metadata: { readonly query: string } }[];
    };
  }
  const dashboard = JSON.parse(read('grafana/tramontane.json')) as Dashboard;
  const scaled = parse(
    read('kubernetes/components/autoscaling/scaled-object.yaml'),
  ) as ScaledObject;
  const queries = [
    ...dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr)),
    ...scaled.spec.triggers.map(({ metadata }) => metadata.query),
  ];
  const exported = METRIC_NAMES.flatMap((name) =>
    name.endsWith('_seconds') ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );

  test.each(queries)('%s is PromQL over what the server exports', async (query) => {
    const { parser } = await import('@prometheus-io/lezer-promql');
    // Grafana's own variable for a duration.
    const text = query.replaceAll('$__rate_interval', '5m');
    const names: string[] = [];
    let errors = 0;
    parser.parse(text).iterate({
      enter({ type, from, to }) {
        if (type.isError) errors++;
        if (type.name === 'VectorSelector') names.push(/^[\w:]+/.exec(text.slice(from, to))![0]);
      },
    });
    expect(errors).toBe(0);
    expect(names.length).toBeGreaterThan(0);
    // `up` is Prometheus' own.
    expect(names.filter((name) => ![...exported, 'up'].includes(name))).toEqual([]);
  });

  test('the lists of the dashboard are filled from a metric of the server', () => {
    const named = JSON.stringify(dashboard.templating).match(/tramontane_\w+/g)!;
    expect(named.length).toBeGreaterThan(0);
    expect(named.filter((name) => !exported.includes(name))).toEqual([]);
  });
});
