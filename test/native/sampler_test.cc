// What a sampler says of a draw: options, randomness, penalties, masks.
#include "engine/sampler.h"

#include <map>

#include "test.h"

using namespace tramontane;

TEST("a draw is described by the options") {
  SamplingOptions options;
  options.temperature = 0.6f;
  options.top_k = 40;
  options.top_p = 0.9f;
  options.min_p = 0.05f;
  options.seed = 7;
  options.presence_penalty = 0.25f;
  options.bias_tokens = {2};
  options.bias_values = {-3};
  const Sampler sampler(options, {}, 5);
  SampleRow row{};
  sampler.describe(3, &row);
  CHECK_EQ(row.temperature, 0.6f);
  CHECK_EQ(row.top_k, 40);
  CHECK_EQ(row.top_p, 0.9f);
  CHECK_EQ(row.min_p, 0.05f);
  CHECK(row.random == random_bits(7, 3));
  CHECK_EQ(row.presence_penalty, 0.25f);
  CHECK_EQ(row.bias_count, 1);
  CHECK_EQ(row.bias_tokens[0], 2);
  CHECK_EQ(row.bias_values[0], -3.0f);
}

TEST("the random bits of a draw depend on seed and index alone, and each is set half of the time") {
  CHECK(random_bits(1, 2) == random_bits(1, 2));
  CHECK(random_bits(1, 2) != random_bits(1, 3));
  CHECK(random_bits(1, 2) != random_bits(2, 2));
  int counts[64] = {};
  for (uint64_t i = 0; i < 10000; ++i) {
    const uint64_t bits = random_bits(3, i);
    for (int bit = 0; bit < 64; ++bit) counts[bit] += static_cast<int>(bits >> bit & 1);
  }
  for (const int count : counts) CHECK_NEAR(count, 5000, 250);
}

TEST("penalties see the prompt's tokens once and count the output's") {
  SamplingOptions options;
  options.repetition_penalty = 1.5f;
  Sampler sampler(options, {4, 4, 2}, 5);
  sampler.accept(2);
  sampler.accept(3);
  sampler.accept(3);
  SampleRow row{};
  sampler.describe(3, &row);
  std::map<int32_t, int32_t> seen;
  for (int32_t i = 0; i < row.seen_count; ++i) seen[row.seen_tokens[i]] = row.seen_counts[i];
  CHECK(seen == (std::map<int32_t, int32_t>{{4, 0}, {2, 1}, {3, 2}}));
}

TEST("an allow-list has the bits of its tokens and no others") {
  AllowList list({0, 33, 63}, 64);
  CHECK_EQ(list.mask()[0], 1u);
  CHECK_EQ(list.mask()[1], 0x80000002u);
}
