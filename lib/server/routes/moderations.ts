/** POST /v1/moderations, by OpenAI's categories; /v1/chat/moderations, by the package's labels. */
import type { Message } from '../../chat/messages';
import type { PolicyLabel } from '../../model/moderation-policy';
import { addRoute, newId, type Call, type Context } from '../context';
import { badField } from '../protocol/errors';
import { honoured, text } from '../protocol/fields';
import { aboutChatTokens } from './chat';

type Input = string | readonly Message[];

const message = { type: 'object', required: ['role'], properties: { role: text } };

/** OpenAI's categories, each in words of our own: its clients look for these names. */
const OPENAI_POLICY: readonly PolicyLabel[] = [
  { label: 'hate', definition: 'demeans people for their origin, religion, sex or disability' },
  { label: 'hate/threatening', definition: 'is such hate, and threatens those people with harm' },
  { label: 'harassment', definition: 'insults, bullies or intimidates somebody' },
  { label: 'harassment/threatening', definition: 'is such harassment, and threatens harm' },
  { label: 'illicit', definition: 'advises how to commit crimes that hurt nobody bodily' },
  { label: 'illicit/violent', definition: 'advises how to commit violent crimes, or get weapons' },
  { label: 'self-harm', definition: 'depicts or encourages hurting or killing oneself' },
  { label: 'self-harm/intent', definition: 'says that its writer wants to hurt themself' },
  { label: 'self-harm/instructions', definition: 'explains how to hurt or kill oneself' },
  { label: 'sexual', definition: 'is meant to arouse, or offers sexual services' },
  { label: 'sexual/minors', definition: 'is sexual, of somebody under 18' },
  { label: 'violence', definition: 'describes death, violence or injury' },
  { label: 'violence/graphic', definition: 'describes death, violence or injury in cruel detail' },
];

/** Judges each input in its turn, in the queue as one request. */
async function judge(
  call: Call,
  name: string | undefined,
  inputs: readonly Input[],
  policy?: readonly PolicyLabel[],
) {
  const served = call.context.models.find(name);
  if (served.adapter !== undefined) {
    throw badField('model', `'${served.name}' is an adapter, and models alone judge`);
  }
  const work = call.work(served);
  const results = await work.use(aboutChatTokens(inputs), async () => {
    const found = [];
    for (const input of inputs) {
      work.signal.throwIfAborted();
      found.push(
        (await served.model.moderate(input, { policy, cacheSalt: work.cacheSalt })).results[0],
      );
    }
    return found;
  });
  return { id: newId('modr-'), model: served.name, results };
}

export function moderationRoutes(context: Context): void {
  const model = honoured(
    'A name of a model; any moderation model of OpenAI is the only model.',
    text,
  );
  addRoute<{
    readonly model?: string;
    readonly input: string | readonly (string | { text: string })[];
  }>(context, {
    path: '/v1/moderations',
    summary: "Judges texts by OpenAI's 13 categories.",
    fields: {
      model,
      input: honoured('A text, or texts.', {
        anyOf: [
          text,
          {
            type: 'array',
            minItems: 1,
            maxItems: 64,
            items: {
              anyOf: [
                text,
                {
                  type: 'object',
                  required: ['type', 'text'],
                  properties: { type: { const: 'text' }, text },
                },
              ],
            },
          },
        ],
      }),
    },
    required: ['input'],
    promptField: 'input',
    answer: ({ model: name, input }, call) => {
      const inputs = typeof input === 'string' ? [input] : input;
      const texts = inputs.map((item) => (typeof item === 'string' ? item : item.text));
      return judge(call, moderationModel(name, context), texts, OPENAI_POLICY);
    },
  });
  addRoute<{
    readonly model?: string;
    readonly input: readonly Message[] | readonly (readonly Message[])[];
  }>(context, {
    path: '/v1/chat/moderations',
    summary: 'Judges conversations by 13 labels.',
    fields: {
      model,
      input: honoured('A conversation, or conversations.', {
        anyOf: [
          { type: 'array', minItems: 1, items: message },
          { type: 'array', minItems: 1, maxItems: 64, items: { type: 'array', items: message } },
        ],
      }),
    },
    required: ['input'],
    promptField: 'input',
    answer: ({ model: name, input }, call) => {
      const inputs = Array.isArray(input[0])
        ? (input as readonly (readonly Message[])[])
        : [input as readonly Message[]];
      return judge(call, moderationModel(name, context), inputs);
    },
  });
}

/** Clients name OpenAI's and Mistral's moderation models without being asked. */
function moderationModel(name: string | undefined, { models }: Context): string | undefined {
  const isTheirs = name !== undefined && /^(omni|text|mistral)-moderation/.test(name);
  return isTheirs && models.all.length === 1 ? undefined : name;
}
