/**
 * A plug-in of TypeDoc: documents are called by their first heading, and modules by the names they are
 * imported by.
 */
import { Converter, ReflectionKind } from 'typedoc';

const MODULES = new Map([
  ['index', 'tramontane'],
  ['server', 'tramontane/server'],
  ['ai-sdk', 'tramontane/ai-sdk'],
]);

/** @param {import('typedoc').Application} app */
export function load(app) {
  app.converter.on(Converter.EVENT_RESOLVE_BEGIN, ({ project }) => {
    for (const document of project.getReflectionsByKind(ReflectionKind.Document)) {
      document.name = /^# (.+)$/m.exec(document.content[0].text)?.[1] ?? document.name;
    }
    for (const module of project.getReflectionsByKind(ReflectionKind.Module)) {
      module.name = MODULES.get(module.name) ?? module.name;
    }
  });
}
