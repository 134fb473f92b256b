/** The Kubernetes manifests: fields and values by Kubernetes' schemas, and that they fit together. */
import { fieldProblems, schemaProblem, type Manifest } from './kinds';
import { deploy, describeWith, documents, files, read, run } from './tools';

const kustomizations = ['Kustomization', 'Component'];
const written = files('kubernetes', '.yaml')
  .flatMap((path) => documents(read(path)) as Manifest[])
  .filter(({ kind }) => !kustomizations.includes(kind));

interface Container {
  readonly args: readonly string[];
  readonly lifecycle: { readonly preStop: { readonly exec: { readonly command: string[] } } };
  readonly securityContext: object;
  readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[];
}
interface PodTemplate {
  readonly metadata: { readonly labels: object };
  readonly spec: {
    readonly terminationGracePeriodSeconds: number;
    readonly securityContext: object;
    readonly containers: readonly [Container];
  };
}

/** The spec of the only object of a kind. */
function one(manifests: readonly Manifest[], kind: string): unknown {
  const found = manifests.filter((manifest) => manifest.kind === kind);
  expect(found).toHaveLength(1);
  return found[0]!.spec;
}

function pods(manifests: readonly Manifest[]): PodTemplate {
  return (one(manifests, 'Deployment') as { template: PodTemplate }).template;
}

test.each(written.map((manifest) => [manifest.kind, manifest] as const))(
  "%s: values by Kubernetes' schema",
  (_kind, manifest) => {
    expect(schemaProblem(manifest)).toBeUndefined();
  },
);

test('no field that Kubernetes does not have', () => {
  expect(fieldProblems(written)).toEqual([]);
});

test('the two checks see a wrong value and a field that is not there', () => {
  const wrong = (spec: Record<string, unknown>): Manifest => ({
    ...written.find(({ kind }) => kind === 'PodDisruptionBudget')!,
    spec,
  });
  expect(schemaProblem(wrong({ maxUnavailable: true }))).toContain('/spec/maxUnavailable');
  expect(fieldProblems([wrong({ maxUnavailabel: 1 })])).toEqual([
    expect.stringContaining('maxUnavailabel'),
  ]);
});

test('secrets are named, never written', () => {
  expect(written.map(({ kind }) => kind)).not.toContain('Secret');
});

test('service, budget, policy and monitor select the pods of the deployment', () => {
  const { labels } = pods(written).metadata;
  const selected = { matchLabels: labels };
  expect(one(written, 'Deployment')).toHaveProperty('selector', selected);
  expect(one(written, 'Service')).toHaveProperty('selector', labels);
  expect(one(written, 'PodDisruptionBudget')).toHaveProperty('selector', selected);
  expect(one(written, 'NetworkPolicy')).toHaveProperty('podSelector', selected);
  expect(one(written, 'PodMonitor')).toHaveProperty('selector', selected);
});

describe.each(['Deployment', 'Job'])('the pods of a %s', (kind) => {
  test('keep to the restricted standard of pod security', () => {
    const { template } = one(written, kind) as { template: PodTemplate };
    const [container] = template.spec.containers;
    expect(template.spec.securityContext).toMatchObject({
      runAsNonRoot: true,
      seccompProfile: { type: 'RuntimeDefault' },
    });
    expect(container.securityContext).toEqual({
      allowPrivilegeEscalation: false,
      readOnlyRootFilesystem: true,
      capabilities: { drop: ['ALL'] },
    });
  });
});

function expectTimeToStop(manifests: readonly Manifest[]): void {
  const { spec } = pods(manifests);
  const [{ args, lifecycle }] = spec.containers;
  const [, before] = lifecycle.preStop.exec.command;
  const drain = args.find((arg) => arg.startsWith('--drain-timeout='))?.split('=')[1];
  expect(Number(before) + Number(drain)).toBeLessThanOrEqual(
    spec.terminationGracePeriodSeconds - 5,
  );
}

test('nothing is killed while it still drains', () => {
  expectTimeToStop(written);
});

describeWith('kubectl', 'kubectl', () => {
  const render = (folder: string): readonly Manifest[] =>
    documents(run('kubectl', ['kustomize', `${deploy}/${folder}`])) as Manifest[];
  const folders = ['overlays/cpu', 'overlays/cuda', 'model'].map((name) => `kubernetes/${name}`);

  test.each([...folders, 'llm-d'])('%s renders to valid objects', (folder) => {
    const manifests = render(folder);
    expect(manifests.map(schemaProblem).filter((problem) => problem !== undefined)).toEqual([]);
    expect(fieldProblems(manifests)).toEqual([]);
  });

  test.each(['kubernetes/overlays/cpu', 'kubernetes/overlays/cuda', 'llm-d'])(
    '%s: enough time to stop, resources, an image with a version',
    (folder) => {
      const manifests = render(folder);
      expectTimeToStop(manifests);
      expect(pods(manifests).spec.containers[0]).toMatchObject({
        image: expect.stringMatching(/:\d/) as string,
        resources: { limits: { memory: expect.anything() as string } },
      });
    },
  );

  test('keys are asked for, but not behind llm-d, which then has no file of them', () => {
    const [keyed] = pods(render('kubernetes/overlays/cpu')).spec.containers;
    const file = keyed.args.find((arg) => arg.startsWith('--api-key-file='))!.split('=')[1]!;
    const mounts = keyed.volumeMounts.map(({ mountPath }) => mountPath);
    expect(mounts.some((path) => file.startsWith(`${path}/`))).toBe(true);
    expect(keyed.args).not.toContain('--no-auth');

    const [open] = pods(render('llm-d')).spec.containers;
    expect(open.args).toContain('--no-auth');
    expect(open.args.join(' ')).not.toContain('--api-key-file');
    expect(open.volumeMounts.map(({ name }) => name)).toEqual(['models']);
  });
});
