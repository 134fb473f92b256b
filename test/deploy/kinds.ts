/** What a Kubernetes object may contain, by the types and schemas that are made of Kubernetes' own. */
import { join } from 'node:path';
import * as typescript from 'typescript';
import { ScaledObject } from '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject';
import { PodMonitor } from '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor';
import { Deployment } from 'kubernetes-models/apps/v1/Deployment';
import { Job } from 'kubernetes-models/batch/v1/Job';
import { NetworkPolicy } from 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy';
import { PodDisruptionBudget } from 'kubernetes-models/policy/v1/PodDisruptionBudget';
import { ConfigMap } from 'kubernetes-models/v1/ConfigMap';
import { PersistentVolumeClaim } from 'kubernetes-models/v1/PersistentVolumeClaim';
import { Service } from 'kubernetes-models/v1/Service';

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string };
  // Each kind's own; the checks below know its shape.
  readonly spec?: Record<string, unknown>;
}

const models = {
  ConfigMap,
  Deployment,
  Job,
  NetworkPolicy,
  PersistentVolumeClaim,
  PodDisruptionBudget,
  PodMonitor,
  ScaledObject,
  Service,
};

const modules: Readonly<Record<keyof typeof models, string>> = {
  ConfigMap: 'kubernetes-models/v1/ConfigMap',
  Deployment: 'kubernetes-models/apps/v1/Deployment',
  Job: 'kubernetes-models/batch/v1/Job',
  NetworkPolicy: 'kubernetes-models/networking.k8s.io/v1/NetworkPolicy',
  PersistentVolumeClaim: 'kubernetes-models/v1/PersistentVolumeClaim',
  PodDisruptionBudget: 'kubernetes-models/policy/v1/PodDisruptionBudget',
  PodMonitor: '@kubernetes-models/prometheus-operator/monitoring.coreos.com/v1/PodMonitor',
  ScaledObject: '@kubernetes-models/keda/keda.sh/v1alpha1/ScaledObject',
  Service: 'kubernetes-models/v1/Service',
};

function known(kind: string): kind is keyof typeof models {
  return kind in models;
}

/** What is wrong with the values of an object: missing ones, types, formats. */
export function schemaProblem(manifest: Manifest): string | undefined {
  if (!known(manifest.kind)) return `no schema for ${manifest.kind}`;
  const { apiVersion } = new models[manifest.kind]() as { apiVersion: string };
  if (manifest.apiVersion !== apiVersion) return `${manifest.apiVersion} is not ${apiVersion}`;
  try {
    new models[manifest.kind](manifest as never).validate();
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/**
 * What is wrong with the fields of objects. The schemas let unknown ones pass, as the API does with
 * a warning; TypeScript does not, in a literal of the object's type.
 */
export function fieldProblems(manifests: readonly Manifest[]): readonly string[] {
  const source = manifests
    .map((manifest, index) => {
      const { kind } = manifest;
      if (!known(kind)) throw new Error(`no types for ${kind}`);
      return (
        `import type { I${kind} as Type${index} } from '${modules[kind]}';\n` +
        `export const value${index}: Type${index} = ${JSON.stringify(manifest)};\n`
      );
    })
    .join('');
  const path = join(__dirname, 'manifests-as-literals.ts');
  const options: typescript.CompilerOptions = {
    module: typescript.ModuleKind.Node16,
    moduleResolution: typescript.ModuleResolutionKind.Node16,
    target: typescript.ScriptTarget.ES2022,
    types: [],
    strict: true,
    skipLibCheck: true,
    noEmit: true,
  };
  const files = typescript.createCompilerHost(options);
  const host: typescript.CompilerHost = {
    ...files,
    fileExists: (name) => name === path || files.fileExists(name),
    readFile: (name) => (name === path ? source : files.readFile(name)),
    getSourceFile: (name, ...rest) =>
      name === path
        ? typescript.createSourceFile(name, source, typescript.ScriptTarget.ES2022)
        : files.getSourceFile(name, ...rest),
  };
  const program = typescript.createProgram([path], options, host);
  return typescript
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => typescript.flattenDiagnosticMessageText(messageText, '\n'));
}
