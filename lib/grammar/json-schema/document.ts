import { GrammarError } from '../../errors';
import { copyJson, isList, isObject, unescapePointer, type Json, type JsonObject } from './json';
import { SCHEMA_KEYWORDS, SCHEMA_LIST_KEYWORDS, SCHEMA_MAP_KEYWORDS } from './keywords';

/** A schema with an `$id`, or the whole: what references are relative to. */
interface Resource {
  readonly uri: string;
  readonly root: Json;
  readonly anchors: Map<string, JsonObject>;
}

const ROOT_URI = 'json-schema:///';

/** A schema as it was given, and where its references lead. */
export class Document {
  readonly root: Json;
  readonly #pointers = new Map<object, string>();
  readonly #resources = new Map<string, Resource>();
  readonly #resourceOf = new Map<JsonObject, Resource>();
  readonly #idKeyword: string;

  constructor(schema: unknown) {
    this.root = copyJson(schema, this.#pointers);
    const version = isObject(this.root) ? this.root.get('$schema') : undefined;
    this.#idKeyword = typeof version === 'string' && /draft-0[34]/.test(version) ? 'id' : '$id';
    const resource: Resource = { uri: ROOT_URI, root: this.root, anchors: new Map() };
    this.#resources.set(ROOT_URI, resource);
    this.#find(this.root, resource);
  }

  /** The JSON pointer of an object or list of the document. */
  pointerOf(value: Json): string {
    if (typeof value !== 'object' || value === null) return '';
    return this.#pointers.get(value) ?? '';
  }

  error(schema: JsonObject, keyword: string, message: string): GrammarError {
    const pointer =
      keyword === '' ? this.pointerOf(schema) : `${this.pointerOf(schema)}/${keyword}`;
    return new GrammarError(
      `${message} (${keyword === '' ? 'at' : `"${keyword}" at`} "${pointer}")`,
      { pointer, keyword },
    );
  }

  /** What the `$ref` of a schema refers to. @throws GrammarError if it is not in this document */
  resolve(schema: JsonObject): Json {
    const reference = schema.get('$ref');
    if (typeof reference !== 'string')
      throw this.error(schema, '$ref', 'A reference must be a string.');
    const lost = (): GrammarError =>
      this.error(
        schema,
        '$ref',
        `There is no "${reference.slice(0, 200)}" in this schema; others are not fetched.`,
      );
    const from = this.#resourceOf.get(schema) ?? this.#resources.get(ROOT_URI)!;
    const { uri, fragment } = split(reference, from.uri) ?? {};
    const resource = uri === undefined ? undefined : this.#resources.get(uri);
    if (resource === undefined || fragment === undefined) throw lost();
    if (fragment !== '' && !fragment.startsWith('/')) {
      const found = resource.anchors.get(fragment);
      if (found === undefined) throw lost();
      return found;
    }
    return this.#follow(resource, fragment) ?? this.#throw(lost());
  }

  #throw(error: GrammarError): never {
    throw error;
  }

  #follow(resource: Resource, pointer: string): Json | undefined {
    let at: Json | undefined = resource.root;
    let within = resource;
    for (const part of pointer.split('/').slice(1)) {
      const key = unescapePointer(part);
      if (isList(at)) at = /^(0|[1-9]\d*)$/.test(key) ? at[Number(key)] : undefined;
      else at = isObject(at) ? at.get(key) : undefined;
      if (isObject(at)) within = this.#resourceOf.get(at) ?? within;
    }
    // Where no keyword has a schema, one may be referred to all the same.
    if (isObject(at) && !this.#resourceOf.has(at)) this.#find(at, within);
    return at;
  }

  /** Notes the resources and anchors of a schema and of those in it. */
  #find(schema: Json, outer: Resource): void {
    if (!isObject(schema) || this.#resourceOf.has(schema)) return;
    let resource = outer;
    const id = schema.get(this.#idKeyword);
    if (typeof id === 'string') {
      const { uri = outer.uri, fragment = '' } = split(id, outer.uri) ?? {};
      if (fragment === '' && uri !== outer.uri) {
        if (this.#resources.has(uri)) {
          throw this.error(schema, this.#idKeyword, `Two schemas have the id "${id}".`);
        }
        resource = { uri, root: schema, anchors: new Map() };
        this.#resources.set(uri, resource);
      } else if (fragment !== '' && !fragment.startsWith('/')) {
        // An anchor, as draft 7 writes it.
        this.#anchor(schema, resource, this.#idKeyword, fragment);
      }
    }
    this.#resourceOf.set(schema, resource);
    for (const keyword of ['$anchor', '$dynamicAnchor']) {
      const name = schema.get(keyword);
      if (typeof name === 'string') this.#anchor(schema, resource, keyword, name);
    }
    for (const keyword of SCHEMA_KEYWORDS) this.#find(schema.get(keyword) ?? null, resource);
    for (const keyword of SCHEMA_LIST_KEYWORDS) {
      const list = schema.get(keyword);
      if (isList(list)) for (const item of list) this.#find(item, resource);
    }
    for (const keyword of SCHEMA_MAP_KEYWORDS) {
      const map = schema.get(keyword);
      if (isObject(map)) for (const item of map.values()) this.#find(item, resource);
    }
  }

  #anchor(schema: JsonObject, resource: Resource, keyword: string, name: string): void {
    const other = resource.anchors.get(name);
    if (other !== undefined && other !== schema)
      throw this.error(schema, keyword, `Two schemas have the anchor "${name}".`);
    resource.anchors.set(name, schema);
  }
}

function split(reference: string, base: string): { uri: string; fragment: string } | undefined {
  try {
    const url = new URL(reference, base);
    const fragment = decodeURIComponent(url.hash.slice(1));
    url.hash = '';
    return { uri: url.href, fragment };
  } catch {
    return undefined;
  }
}
