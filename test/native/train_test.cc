// Training: each operation's backward against finite differences, the whole model's too, and what
// may not change a bit of it.
#include <algorithm>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>

#include "cpu/backend/implementation.h"
#include "test.h"
#include "tiny_model.h"
#include "train/operations.h"
#include "train/trainer.h"

using namespace tramontane;
using namespace tramontane::train;
using tramontane::test::TinyModel;

namespace {

using Values = std::vector<float>;

Values random_values(size_t n, uint32_t seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  Values values(n);
  for (float& value : values) value = normal(random);
  return values;
}

double dot(const Values& a, const Values& b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

// Whether `gradient` is that of f() by the entries of x: by central differences of two widths, from
// which Richardson's extrapolation takes the third order.
void check_gradient(Values& x, const Values& gradient, const std::function<double()>& f,
                    size_t most_entries = 64) {
  double largest = 0;
  for (const float entry : gradient) largest = std::max(largest, std::fabs(double{entry}));
  CHECK(largest > 0);
  const size_t stride = std::max<size_t>(1, x.size() / most_entries);
  for (size_t i = 0; i < x.size(); i += stride) {
    const float kept = x[i];
    const auto difference = [&](float width) {
      const float above = kept + width, below = kept - width;
      x[i] = above;
      const double up = f();
      x[i] = below;
      const double down = f();
      x[i] = kept;
      return (up - down) / (double{above} - below);
    };
    const double derivative = (4 * difference(1e-2f) - difference(2e-2f)) / 3;
    CHECK_NEAR(gradient[i], derivative, 1e-3 * largest + 1e-5);
  }
}

const cpu::Implementation& best() {
  std::string error;
  return *cpu::choose_implementation(nullptr, &error);
}

}  // namespace

TEST("rms_norm's backward is its derivative, and is added") {
  const int n = 33;
  Values in = random_values(n, 1);
  const Values weight = random_values(n, 2), d_out = random_values(n, 3);
  Values d_in(n, 7.0f), out(n);
  rms_norm_backward(in.data(), weight.data(), d_out.data(), n, 1e-5f, d_in.data());
  for (float& value : d_in) value -= 7;
  check_gradient(in, d_in, [&] {
    rms_norm(in.data(), weight.data(), n, 1e-5f, out.data());
    return dot(out, d_out);
  });
}

TEST("swiglu's backward is its derivative") {
  const int n = 40;
  Values gate = random_values(n, 1, 2), up = random_values(n, 2), out(n), d_gate(n), d_up(n);
  const Values d_out = random_values(n, 3);
  swiglu_backward(gate.data(), up.data(), d_out.data(), n, d_gate.data(), d_up.data());
  const auto f = [&] {
    swiglu(gate.data(), up.data(), n, out.data());
    return dot(out, d_out);
  };
  check_gradient(gate, d_gate, f);
  check_gradient(up, d_up, f);
}

TEST("rope's backward is its derivative, in both pairings") {
  const int heads = 2, size = 16;
  Values cosines(size / 2), sines(size / 2);
  for (int i = 0; i < size / 2; ++i) {
    cosines[i] = std::cos(0.3f * static_cast<float>(i + 1));
    sines[i] = std::sin(0.3f * static_cast<float>(i + 1));
  }
  for (const RopePairing pairing : {RopePairing::kNeighbours, RopePairing::kHalves}) {
    Values x = random_values(heads * size, 1);
    const Values d_out = random_values(heads * size, 2);
    Values d_x = d_out;
    rope(d_x.data(), heads, size, cosines.data(), sines.data(), pairing, -1);
    check_gradient(x, d_x, [&] {
      Values out = x;
      rope(out.data(), heads, size, cosines.data(), sines.data(), pairing, 1);
      return dot(out, d_out);
    });
    // Forward is what inference has.
    Values ours = x, theirs = x;
    rope(ours.data(), heads, size, cosines.data(), sines.data(), pairing, 1);
    cpu::kScalarRows.rope(theirs.data(), heads, size, cosines.data(), sines.data(), pairing);
    for (int i = 0; i < heads * size; ++i) CHECK_NEAR(ours[i], theirs[i], 1e-6);
  }
}

TEST("cross entropy leaves its derivative, scaled, in the logits") {
  const int n = 50, label = 17;
  Values logits = random_values(n, 1, 2);
  Values gradient = logits;
  const double loss = cross_entropy(gradient.data(), n, label, 0.25f);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(double{logit});
  CHECK_NEAR(loss, std::log(sum) - logits[label], 1e-5);
  check_gradient(logits, gradient, [&] {
    Values copy = logits;
    return 0.25 * cross_entropy(copy.data(), n, label, 0);
  });
}

TEST("attention's backward is its derivative, with windows, over samples and shared keys") {
  const ModelShape shape{1, 64, 64, 4, 2, 16, 64, 1e-5f, 1e4f, RopePairing::kHalves};
  const int32_t n = 150;
  const std::vector<Sample> samples = {{0, 100}, {100, 1}, {101, 49}};
  const cpu::Workers workers(2);
  for (const int32_t window : {0, 20, 70}) {
    Attention attention(shape, window, *best().tiles, workers);
    Values query = random_values(n * 64, 1), key = random_values(n * 32, 2),
           value = random_values(n * 32, 3);
    const Values d_out = random_values(n * 64, 4);
    Values out(n * 64), log_sums(n * 4), d_query(n * 64), d_key(n * 32), d_value(n * 32);
    const auto f = [&] {
      attention.forward(samples, n, query.data(), key.data(), value.data(), out.data(),
                        log_sums.data());
      return dot(out, d_out);
    };
    f();
    attention.backward(samples, n, query.data(), key.data(), value.data(), out.data(),
                       log_sums.data(), d_out.data(), d_query.data(), d_key.data(), d_value.data());
    check_gradient(query, d_query, f);
    check_gradient(key, d_key, f);
    check_gradient(value, d_value, f);
  }
}

TEST("attention sees what its definition says, and nothing of other samples") {
  const ModelShape shape{1, 64, 64, 4, 2, 16, 64, 1e-5f, 1e4f, RopePairing::kHalves};
  const int32_t n = 150, window = 20;
  const std::vector<Sample> samples = {{0, 100}, {100, 50}};
  const cpu::Workers workers(2);
  Attention attention(shape, window, *best().tiles, workers);
  const Values query = random_values(n * 64, 1), key = random_values(n * 32, 2),
               value = random_values(n * 32, 3);
  Values out(n * 64), log_sums(n * 4);
  attention.forward(samples, n, query.data(), key.data(), value.data(), out.data(),
                    log_sums.data());
  for (const Sample& sample : samples) {
    for (int32_t i = sample.first; i < sample.first + sample.rows; ++i) {
      for (int32_t head = 0; head < 4; ++head) {
        double sum = 0, expected[16] = {};
        for (int32_t j = std::max(sample.first, i - window + 1); j <= i; ++j) {
          double score = 0;
          for (int d = 0; d < 16; ++d) {
            score += double{query[i * 64 + head * 16 + d]} * key[j * 32 + head / 2 * 16 + d];
          }
          const double weight = std::exp(score / 4);
          sum += weight;
          for (int d = 0; d < 16; ++d) expected[d] += weight * value[j * 32 + head / 2 * 16 + d];
        }
        for (int d = 0; d < 16; ++d) {
          CHECK_NEAR(out[i * 64 + head * 16 + d], expected[d] / sum, 1e-5);
        }
      }
    }
  }
}

TEST("dropout drops a part, keeps the mean, and is the same for the same key") {
  const int64_t n = 100000;
  Values values(n, 1.0f), again(n, 1.0f), other(n, 1.0f);
  dropout(values.data(), n, 0.3f, 1);
  dropout(again.data(), n, 0.3f, 1);
  dropout(other.data(), n, 0.3f, 12345);
  CHECK(values == again);
  CHECK(values != other);
  const double dropped = static_cast<double>(std::count(values.begin(), values.end(), 0.0f)) / n;
  CHECK_NEAR(dropped, 0.3, 0.01);
  CHECK_NEAR(std::accumulate(values.begin(), values.end(), 0.0) / n, 1, 0.02);
}

namespace {

const std::vector<Role> kAll = {Role::kQuery,   Role::kKey,   Role::kValue,  Role::kAttentionOutput,
                                Role::kFfnGate, Role::kFfnUp, Role::kFfnDown};

TinyModel::Options tiny(Compute compute, int threads = 2) {
  TinyModel::Options options;
  options.window = 20;
  options.compute = compute;
  options.threads = threads;
  return options;
}

PackedSequence random_sequence(int32_t n, uint32_t seed, std::vector<Sample> samples) {
  std::mt19937 random(seed);
  PackedSequence sequence;
  for (int32_t i = 0; i < n; ++i) {
    sequence.tokens.push_back(static_cast<int32_t>(random() % 96));
    sequence.labels.push_back(random() % 4 == 0 ? -1 : static_cast<int32_t>(random() % 96));
  }
  sequence.samples = std::move(samples);
  return sequence;
}

// A and B of a size that shows in the loss.
void fill(Trainer& trainer) {
  Values& parameters = trainer.state(State::kParameters);
  parameters = random_values(parameters.size(), 9, 0.2f);
}

// The gradient, by a step of an optimizer that keeps it.
Values gradient_of(Trainer& trainer) {
  AdamW options{};
  options.epsilon = 1;
  options.step = 1;
  trainer.update(options);
  return trainer.state(State::kFirstMoments);
}

}  // namespace

// Four passes an entry, of which a sanitizer needs few to see all the code.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kGradientEntries = 10;
#else
constexpr size_t kGradientEntries = 300;
#endif

TEST("the gradient of a packed sequence is that of its loss, with dropout and without") {
  for (const float dropped : {0.0f, 0.4f}) {
    const TinyModel tiny_model(tiny(Compute::kF32));
    Trainer trainer(tiny_model.description, {3, 1.5f, dropped, 5, kAll}, 70);
    fill(trainer);
    const PackedSequence sequence = random_sequence(70, 4, {{0, 40}, {40, 9}, {49, 21}});
    trainer.accumulate(sequence, 0.25f, 6);
    const Values gradient = gradient_of(trainer);
    Values& parameters = trainer.state(State::kParameters);
    check_gradient(
        parameters, gradient,
        [&] {
          const double loss = 0.25 * *trainer.accumulate(sequence, 0, 6);
          return dropped > 0 ? loss : 0.25 * *trainer.evaluate(sequence);
        },
        kGradientEntries);
  }
}

TEST("gradients of sequences add up, and another number drops others") {
  const TinyModel tiny_model(tiny(Compute::kF32));
  Trainer trainer(tiny_model.description, {3, 1.5f, 0.4f, 5, kAll}, 30);
  fill(trainer);
  const PackedSequence sequence = random_sequence(30, 4, {{0, 30}});
  const auto of = [&](std::vector<uint64_t> numbers) {
    for (const uint64_t number : numbers) trainer.accumulate(sequence, 1, number);
    return gradient_of(trainer);
  };
  const Values one = of({1}), other = of({2}), both = of({1, 2});
  CHECK(one != other);
  for (size_t i = 0; i < both.size(); ++i) CHECK_NEAR(both[i], one[i] + other[i], 1e-4);
}

TEST("a training has the same bits on one thread, two and three") {
  for (const Compute compute : {Compute::kF32, Compute::kInt8}) {
    Values first[kStateCount];
    for (const int threads : {1, 2, 3}) {
      const TinyModel tiny_model(tiny(compute, threads));
      Trainer trainer(tiny_model.description, {4, 2, 0.2f, 5, kAll}, 300);
      fill(trainer);
      for (int32_t step = 1; step <= 3; ++step) {
        trainer.accumulate(random_sequence(300, step, {{0, 200}, {200, 100}}), 0.1f, step);
        trainer.accumulate(random_sequence(77, step + 10, {{0, 77}}), 0.1f, step + 10);
        trainer.update({1e-2f, 0.9f, 0.999f, 1e-8f, 0.1f, 0.5f, step});
      }
      for (int32_t i = 0; i < kStateCount; ++i) {
        const Values& state = trainer.state(static_cast<State>(i));
        if (threads == 1) first[i] = state;
        CHECK(std::memcmp(first[i].data(), state.data(), state.size() * sizeof(float)) == 0);
      }
    }
  }
}

TEST("packed samples have the losses that they have alone") {
  const TinyModel tiny_model(tiny(Compute::kF32));
  Trainer trainer(tiny_model.description, {3, 1.5f, 0, 5, kAll}, 70);
  fill(trainer);
  const PackedSequence packed = random_sequence(70, 4, {{0, 40}, {40, 9}, {49, 21}});
  double alone = 0;
  for (const Sample& sample : packed.samples) {
    const auto part = [&](const std::vector<int32_t>& all) {
      return std::vector<int32_t>(all.begin() + sample.first,
                                  all.begin() + sample.first + sample.rows);
    };
    alone += *trainer.evaluate({part(packed.tokens), part(packed.labels), {{0, sample.rows}}});
  }
  CHECK_NEAR(*trainer.evaluate(packed), alone, 1e-9 * alone);
}

TEST("an update is AdamW with a clipped gradient") {
  const TinyModel tiny_model(tiny(Compute::kF32));
  Trainer trainer(tiny_model.description, {2, 1, 0, 5, {Role::kValue}}, 30);
  fill(trainer);
  std::vector<double> p(trainer.state(State::kParameters).begin(),
                        trainer.state(State::kParameters).end()),
      m(p.size()), v(p.size());
  for (int32_t step = 1; step <= 3; ++step) {
    const PackedSequence sequence = random_sequence(30, step, {{0, 30}});
    trainer.accumulate(sequence, 1, 0);
    // The gradient, by an optimizer with nothing behind it.
    Trainer other(tiny_model.description, {2, 1, 0, 5, {Role::kValue}}, 30);
    other.state(State::kParameters) = trainer.state(State::kParameters);
    other.accumulate(sequence, 1, 0);
    const Values gradient = gradient_of(other);
    double norm = 0;
    for (const float g : gradient) norm += double{g} * g;
    norm = std::sqrt(norm);
    CHECK_NEAR(trainer.update({1e-2f, 0.9f, 0.99f, 1e-8f, 0.1f, 0.5f, step}), norm, 1e-5 * norm);
    CHECK(norm > 0.5);
    for (size_t i = 0; i < p.size(); ++i) {
      const double g = gradient[i] * 0.5 / norm;
      m[i] = 0.9 * m[i] + 0.1 * g;
      v[i] = 0.99 * v[i] + 0.01 * g * g;
      const double m_hat = m[i] / (1 - std::pow(0.9, step)),
                   v_hat = v[i] / (1 - std::pow(0.99, step));
      p[i] = p[i] * (1 - 1e-2 * 0.1) - 1e-2 * m_hat / (std::sqrt(v_hat) + 1e-8);
      CHECK_NEAR(trainer.state(State::kParameters)[i], p[i], 1e-4);
    }
  }
}

TEST("a gradient that is no number changes nothing, and is forgotten") {
  const TinyModel tiny_model(tiny(Compute::kF32));
  Trainer trainer(tiny_model.description, {2, 1, 0, 5, {Role::kValue}}, 30);
  fill(trainer);
  const Values before = trainer.state(State::kParameters);
  const PackedSequence sequence = random_sequence(30, 1, {{0, 30}});
  trainer.accumulate(sequence, std::numeric_limits<float>::infinity(), 0);
  const AdamW options{1e-2f, 0.9f, 0.99f, 1e-8f, 0, 0, 1};
  CHECK(!std::isfinite(trainer.update(options)));
  CHECK(trainer.state(State::kParameters) == before);
  trainer.accumulate(sequence, 1, 0);
  CHECK(std::isfinite(trainer.update(options)));
}

TEST("what is cancelled ends without a result, and for good") {
  const TinyModel tiny_model(tiny(Compute::kF32));
  Trainer trainer(tiny_model.description, {2, 1, 0, 5, {Role::kValue}}, 30);
  const PackedSequence sequence = random_sequence(30, 1, {{0, 30}});
  CHECK(trainer.evaluate(sequence).has_value());
  trainer.cancel();
  CHECK(!trainer.evaluate(sequence).has_value());
  CHECK(!trainer.accumulate(sequence, 1, 0).has_value());
}
