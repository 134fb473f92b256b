/** Every YAML file is what a strict parser takes, and SkyPilot's have what the seed's had. */
import { documents, files, read } from './tools';

test.each(files('.', '.yaml'))('%s parses', (path) => {
  expect(documents(read(path)).length).toBeGreaterThan(0);
});

interface Task {
  readonly service?: { readonly readiness_probe: { readonly path: string } };
  readonly envs: Readonly<Record<string, string>>;
  readonly secrets: Readonly<Record<string, null>>;
  readonly resources: { readonly ports: unknown };
  readonly run: string;
}

describe.each(['mistral-7b', 'mistral-7b-service'])('skypilot/%s', (name) => {
  const [task] = documents(read(`skypilot/${name}.yaml`)) as [Task];

  test('serves Mistral 7B under its name on port 8000', () => {
    expect(task.envs['MODEL_NAME']).toBe('mistralai/Mistral-7B-v0.1');
    expect([task.resources.ports].flat()).toEqual([8000]);
    expect(task.run).toContain('-p 8000:8000');
  });

  test('every variable it uses is given by the task', () => {
    const used = [...task.run.matchAll(/\$\{?(\w+)/g)].map((match) => match[1]!);
    const given = [...Object.keys(task.envs), ...Object.keys(task.secrets)];
    expect(used.filter((variable) => !given.includes(variable))).toEqual([]);
  });

  test('keys are secrets without a value', () => {
    expect(task.secrets).toEqual({ TRAMONTANE_API_KEYS: null });
  });
});

test('the service is ready when /ready says so, which needs no key', () => {
  const [task] = documents(read('skypilot/mistral-7b-service.yaml')) as [Task];
  expect(task.service?.readiness_probe.path).toBe('/ready');
});
