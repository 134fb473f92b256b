/** A style the embedded model does not know: reports of animals, of a few words in fixed places. */
import type { TrainingSample } from '../../lib';
import { SeededRandom } from '../../lib/train/seeded-random';

const ANIMALS = ['dog', 'cat', 'bird', 'bear', 'fish', 'frog', 'rabbit', 'mouse'];
const THINGS = ['ball', 'box', 'tree', 'car', 'book', 'flower', 'hat', 'cake'];
const PLACES = ['park', 'house', 'garden', 'forest', 'room', 'lake'];
const MOODS = ['happy', 'sad', 'tired', 'scared', 'proud'];
const LOOKS = ['red', 'blue', 'green', 'big', 'little'];

export function reports(count: number, seed: number): TrainingSample[] {
  const random = new SeededRandom(seed);
  const pick = (words: readonly string[]) => words[Math.floor(random.next() * words.length)]!;
  return Array.from({ length: count }, () => {
    const [animal, place, mood] = [pick(ANIMALS), pick(PLACES), pick(MOODS)];
    const thing = `${pick(LOOKS)} ${pick(THINGS)}`;
    const report =
      `Report. Who: the ${animal}. Where: the ${place}. Found: a ${thing}. Mood: ${mood}. ` +
      `The ${animal} took the ${thing} home and was ${mood}. End of report.`;
    return {
      messages: [
        { role: 'user', content: `Tell me a story about a ${animal}.` },
        { role: 'assistant', content: report },
      ],
    };
  });
}
