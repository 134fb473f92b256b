#include "binding/trainer.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "backend/rules.h"
#include "base/error.h"
#include "binding/convert.h"
#include "binding/guard.h"
#include "binding/promise_worker.h"
#include "train/trainer.h"

namespace tramontane::binding {
namespace {

using train::AdamW;
using train::LoraOptions;
using train::PackedSequence;

LoraOptions to_lora_options(const Napi::Object& object) {
  LoraOptions options;
  options.rank = object.Get("rank").As<Napi::Number>();
  options.scale = object.Get("scale").As<Napi::Number>();
  options.dropout = object.Get("dropout").As<Napi::Number>();
  options.seed = static_cast<uint64_t>(object.Get("seed").As<Napi::Number>().Int64Value());
  for (const std::string& name : to_strings(object.Get("targets"))) {
    Role role;
    if (!find_role(name, &role) || is_norm(role) || role == Role::kTokenEmbedding ||
        role == Role::kOutput) {
      throw Error("INVALID_OPTION", name + " cannot have an adapter");
    }
    options.targets.push_back(role);
  }
  return options;
}

AdamW to_adamw(const Napi::Object& object) {
  const auto get = [&](const char* key) -> float { return object.Get(key).As<Napi::Number>(); };
  return {get("learningRate"),
          get("beta1"),
          get("beta2"),
          get("epsilon"),
          get("weightDecay"),
          get("mostNorm"),
          object.Get("step").As<Napi::Number>().Int32Value()};
}

// What would be read outside of bounds is refused here again.
void check_sequence(const PackedSequence& sequence, const train::Trainer& trainer) {
  check_pair("tokens", sequence.tokens.size(), "labels", sequence.labels.size());
  if (sequence.tokens.empty() ||
      sequence.tokens.size() > static_cast<size_t>(trainer.most_rows())) {
    throw Error("INVALID_OPTION", "a sequence has no tokens, or too many");
  }
  const int32_t vocabulary = trainer.shape().vocabulary;
  const auto out_of_range = [&](int32_t least) {
    return [least, vocabulary](int32_t id) { return id < least || id >= vocabulary; };
  };
  if (std::any_of(sequence.tokens.begin(), sequence.tokens.end(), out_of_range(0)) ||
      std::any_of(sequence.labels.begin(), sequence.labels.end(), out_of_range(-1))) {
    throw Error("INVALID_OPTION", "a token of a sequence is not in the vocabulary");
  }
}

// `starts`: the first rows of samples, ascending from 0.
std::vector<train::Sample> to_samples(const std::vector<int32_t>& starts, size_t rows) {
  std::vector<train::Sample> samples;
  for (size_t i = 0; i < starts.size(); ++i) {
    const int32_t end = i + 1 < starts.size() ? starts[i + 1] : static_cast<int32_t>(rows);
    if ((i == 0 && starts[i] != 0) || end <= starts[i]) {
      throw Error("INVALID_OPTION", "the samples of a sequence do not cover it");
    }
    samples.push_back({starts[i], end - starts[i]});
  }
  if (samples.empty()) throw Error("INVALID_OPTION", "a sequence has no samples");
  return samples;
}

PackedSequence to_sequence(const Napi::Object& object) {
  PackedSequence sequence{to_tokens(object.Get("tokens")), to_tokens(object.Get("labels")), {}};
  sequence.samples = to_samples(to_tokens(object.Get("starts")), sequence.tokens.size());
  return sequence;
}

train::State to_state(const Napi::Value& value) {
  const std::string name = value.As<Napi::String>();
  return name == "parameters"     ? train::State::kParameters
         : name == "firstMoments" ? train::State::kFirstMoments
                                  : train::State::kSecondMoments;
}

}  // namespace

struct NativeTrainer::Shared {
  const ModelDescription description;
  const LoraOptions options;
  const int32_t most_rows;
  std::unique_ptr<train::Trainer> trainer;  // Null until open() is done,
  std::mutex mutex;                         // which sets it under this.
  bool cancelled = false;

  // Throws Error.
  train::Trainer& opened() const {
    if (!trainer) throw Error("COMPUTE_FAILED", "the trainer is not open");
    return *trainer;
  }
  void cancel() {
    const std::lock_guard lock(mutex);
    cancelled = true;
    if (trainer) trainer->cancel();
  }
};

class NativeTrainer::Opening final : public PromiseWorker {
 public:
  Opening(Napi::Env env, std::shared_ptr<Shared> shared)
      : PromiseWorker(env, "preparing training"), shared_(std::move(shared)) {}

 private:
  void run() override {
    auto trainer = std::make_unique<train::Trainer>(shared_->description, shared_->options,
                                                    shared_->most_rows);
    const std::lock_guard lock(shared_->mutex);
    if (shared_->cancelled) trainer->cancel();
    shared_->trainer = std::move(trainer);
  }

  const std::shared_ptr<Shared> shared_;
};

// The sum of a sequence's losses, with its gradient or without; undefined when it was cancelled.
class NativeTrainer::Computing final : public PromiseWorker {
 public:
  struct Learn {
    float scale;
    uint64_t number;
  };

  Computing(Napi::Env env, std::shared_ptr<Shared> shared, PackedSequence sequence,
            std::optional<Learn> learn)
      : PromiseWorker(env, "training"),
        shared_(std::move(shared)),
        sequence_(std::move(sequence)),
        learn_(learn) {}

 private:
  void run() override {
    train::Trainer& trainer = *shared_->trainer;
    sum_ = learn_ ? trainer.accumulate(sequence_, learn_->scale, learn_->number)
                  : trainer.evaluate(sequence_);
  }
  Napi::Value result() override {
    return sum_ ? Napi::Number::New(Env(), *sum_) : Env().Undefined();
  }

  const std::shared_ptr<Shared> shared_;
  const PackedSequence sequence_;
  const std::optional<Learn> learn_;
  std::optional<double> sum_;
};

class NativeTrainer::Updating final : public PromiseWorker {
 public:
  Updating(Napi::Env env, std::shared_ptr<Shared> shared, const AdamW& options)
      : PromiseWorker(env, "training"), shared_(std::move(shared)), options_(options) {}

 private:
  void run() override { norm_ = shared_->trainer->update(options_); }
  Napi::Value result() override { return Napi::Number::New(Env(), norm_); }

  const std::shared_ptr<Shared> shared_;
  const AdamW options_;
  double norm_ = 0;
};

Napi::Function NativeTrainer::define(Napi::Env env) {
  return DefineClass(
      env, "Trainer",
      {InstanceMethod<&NativeTrainer::open>("open"),
       InstanceMethod<&NativeTrainer::accumulate>("accumulate"),
       InstanceMethod<&NativeTrainer::evaluate>("evaluate"),
       InstanceMethod<&NativeTrainer::update>("update"),
       InstanceMethod<&NativeTrainer::forget_gradient>("forgetGradient"),
       InstanceMethod<&NativeTrainer::read>("read"), InstanceMethod<&NativeTrainer::write>("write"),
       InstanceMethod<&NativeTrainer::cancel>("cancel")});
}

NativeTrainer::NativeTrainer(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<NativeTrainer>(info),
      shared_([&] {
        std::shared_ptr<Shared> shared;
        throw_errors(info.Env(), "preparing training", [&] {
          const auto options = info[1].As<Napi::Object>();
          shared.reset(new Shared{to_description(info[0].As<Napi::Object>()),
                                  to_lora_options(options),
                                  options.Get("mostTokens").As<Napi::Number>().Int32Value(),
                                  nullptr,
                                  {}});
        });
        return shared;
      }()),
      env_(info.Env()) {
  napi_add_env_cleanup_hook(env_, on_environment_exit, this);
}

NativeTrainer::~NativeTrainer() { napi_remove_env_cleanup_hook(env_, on_environment_exit, this); }

// Node waits for work at hand, which may be minutes.
void NativeTrainer::on_environment_exit(void* self) {
  static_cast<NativeTrainer*>(self)->shared_->cancel();
}

Napi::Value NativeTrainer::open(const Napi::CallbackInfo& info) {
  return (new Opening(info.Env(), shared_))->start();
}

// accumulate(sequence, scale, number) -> Promise<sum of losses>
Napi::Value NativeTrainer::accumulate(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  throw_errors(info.Env(), "training", [&] {
    PackedSequence sequence = to_sequence(info[0].As<Napi::Object>());
    check_sequence(sequence, shared_->opened());
    const Computing::Learn learn{info[1].As<Napi::Number>(),
                                 static_cast<uint64_t>(info[2].As<Napi::Number>().Int64Value())};
    promise = (new Computing(info.Env(), shared_, std::move(sequence), learn))->start();
  });
  return promise;
}

Napi::Value NativeTrainer::evaluate(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  throw_errors(info.Env(), "evaluating", [&] {
    PackedSequence sequence = to_sequence(info[0].As<Napi::Object>());
    check_sequence(sequence, shared_->opened());
    promise = (new Computing(info.Env(), shared_, std::move(sequence), std::nullopt))->start();
  });
  return promise;
}

Napi::Value NativeTrainer::update(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  throw_errors(info.Env(), "training", [&] {
    shared_->opened();
    promise = (new Updating(info.Env(), shared_, to_adamw(info[0].As<Napi::Object>())))->start();
  });
  return promise;
}

Napi::Value NativeTrainer::forget_gradient(const Napi::CallbackInfo& info) {
  throw_errors(info.Env(), "training", [&] { shared_->opened().forget_gradient(); });
  return info.Env().Undefined();
}

// read(state) -> Float32Array, a copy
Napi::Value NativeTrainer::read(const Napi::CallbackInfo& info) {
  Napi::Value result;
  throw_errors(info.Env(), "reading an adapter", [&] {
    const std::vector<float>& state = shared_->opened().state(to_state(info[0]));
    auto array = Napi::Float32Array::New(info.Env(), state.size());
    std::copy(state.begin(), state.end(), array.Data());
    result = array;
  });
  return result;
}

Napi::Value NativeTrainer::write(const Napi::CallbackInfo& info) {
  throw_errors(info.Env(), "writing an adapter", [&] {
    std::vector<float>& state = shared_->opened().state(to_state(info[0]));
    const auto array = info[1].As<Napi::Float32Array>();
    check_pair("state", state.size(), "values", array.ElementLength());
    std::copy_n(array.Data(), state.size(), state.begin());
  });
  return info.Env().Undefined();
}

Napi::Value NativeTrainer::cancel(const Napi::CallbackInfo& info) {
  shared_->cancel();
  return info.Env().Undefined();
}

}  // namespace tramontane::binding
