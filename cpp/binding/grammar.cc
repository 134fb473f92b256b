#include "binding/grammar.h"

#include <algorithm>
#include <chrono>
#include <utility>
#include <vector>

#include "binding/convert.h"
#include "binding/guard.h"
#include "binding/promise_worker.h"

namespace tramontane::binding {
namespace {

using VocabularyHandle = Napi::External<std::shared_ptr<const Vocabulary>>;

std::vector<uint8_t> to_bytes(const Napi::Value& value) {
  const auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.Data() + array.ElementLength()};
}

class VocabularyBuilding final : public PromiseWorker {
 public:
  VocabularyBuilding(Napi::Env env, std::vector<uint8_t> bytes, std::vector<int32_t> offsets,
                     std::vector<uint8_t> kinds)
      : PromiseWorker(env, "arranging the vocabulary"),
        bytes_(std::move(bytes)),
        offsets_(std::move(offsets)),
        kinds_(std::move(kinds)) {}

 private:
  void run() override {
    vocabulary_ =
        std::make_shared<const Vocabulary>(std::move(bytes_), std::move(offsets_), kinds_);
  }

  Napi::Value result() override {
    auto handle = std::make_unique<std::shared_ptr<const Vocabulary>>(std::move(vocabulary_));
    const auto value = VocabularyHandle::New(
        Env(), handle.get(),
        [](Napi::Env, std::shared_ptr<const Vocabulary>* held) { delete held; });
    handle.release();
    return value;
  }

  std::vector<uint8_t> bytes_;
  std::vector<int32_t> offsets_;
  const std::vector<uint8_t> kinds_;
  std::shared_ptr<const Vocabulary> vocabulary_;
};

}  // namespace

Napi::Function NativeGrammar::define(Napi::Env env) {
  return DefineClass(env, "Grammar", {InstanceMethod<&NativeGrammar::accepts>("accepts")});
}

NativeGrammar::NativeGrammar(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<NativeGrammar>(info) {
  throw_errors(info.Env(), "reading a grammar", [&] {
    shared_ = std::make_shared<SharedGrammar>(
        Grammar(to_tokens(info[0]), to_tokens(info[1]), to_tokens(info[2])));
  });
}

Napi::Value NativeGrammar::accepts(const Napi::CallbackInfo& info) {
  const auto text = info[0].As<Napi::Uint8Array>();
  bool accepted = false;
  throw_errors(info.Env(), "matching a text",
               [&] { accepted = shared_->accepts(text.Data(), text.ByteLength()); });
  return Napi::Boolean::New(info.Env(), accepted);
}

Napi::Value build_vocabulary(const Napi::CallbackInfo& info) {
  Napi::Value promise;
  throw_errors(info.Env(), "arranging the vocabulary", [&] {
    auto* building = new VocabularyBuilding(info.Env(), to_bytes(info[0]), to_tokens(info[1]),
                                            to_bytes(info[2]));
    promise = building->start();
  });
  return promise;
}

std::shared_ptr<const Vocabulary> to_vocabulary(const Napi::Value& value) {
  return *value.As<VocabularyHandle>().Data();
}

Napi::Function NativeMatcher::define(Napi::Env env) {
  return DefineClass(env, "Matcher",
                     {InstanceMethod<&NativeMatcher::mask>("mask"),
                      InstanceMethod<&NativeMatcher::accept>("accept"),
                      InstanceMethod<&NativeMatcher::rollback>("rollback"),
                      InstanceAccessor<&NativeMatcher::accepting>("accepting"),
                      InstanceAccessor<&NativeMatcher::finished>("finished"),
                      InstanceMethod<&NativeMatcher::place>("place"),
                      InstanceMethod<&NativeMatcher::evict>("evict"),
                      InstanceMethod<&NativeMatcher::time_mask>("timeMask")});
}

NativeMatcher::NativeMatcher(const Napi::CallbackInfo& info)
    : Napi::ObjectWrap<NativeMatcher>(info) {
  const auto* grammar = NativeGrammar::Unwrap(info[0].As<Napi::Object>());
  const auto options = info[2].As<Napi::Object>();
  throw_errors(info.Env(), "starting a matcher", [&] {
    matcher_ = std::make_unique<Matcher>(
        grammar->shared(), to_vocabulary(info[1]),
        MatcherOptions{to_tokens(options.Get("endTokens")),
                       options.Get("dummySpace").As<Napi::Boolean>().Value()});
  });
}

Napi::Value NativeMatcher::mask(const Napi::CallbackInfo& info) {
  Mask mask;
  throw_errors(info.Env(), "finding a mask", [&] { mask = matcher_->mask(); });
  auto copy = Napi::Uint32Array::New(info.Env(), mask->size());
  std::copy(mask->begin(), mask->end(), copy.Data());
  return copy;
}

Napi::Value NativeMatcher::accept(const Napi::CallbackInfo& info) {
  const int32_t token = info[0].As<Napi::Number>();
  bool accepted = false;
  throw_errors(info.Env(), "matching a token", [&] { accepted = matcher_->accept(token); });
  return Napi::Boolean::New(info.Env(), accepted);
}

Napi::Value NativeMatcher::rollback(const Napi::CallbackInfo& info) {
  matcher_->rollback(info[0].As<Napi::Number>());
  return info.Env().Undefined();
}

Napi::Value NativeMatcher::accepting(const Napi::CallbackInfo& info) {
  bool accepting = false;
  throw_errors(info.Env(), "matching a text", [&] { accepting = matcher_->accepting(); });
  return Napi::Boolean::New(info.Env(), accepting);
}

Napi::Value NativeMatcher::finished(const Napi::CallbackInfo& info) {
  bool finished = false;
  throw_errors(info.Env(), "matching a text", [&] { finished = matcher_->finished(); });
  return Napi::Boolean::New(info.Env(), finished);
}

Napi::Value NativeMatcher::place(const Napi::CallbackInfo& info) {
  std::string place;
  throw_errors(info.Env(), "matching a text", [&] { place = matcher_->place(); });
  return Napi::String::New(info.Env(), place);
}

Napi::Value NativeMatcher::evict(const Napi::CallbackInfo& info) {
  throw_errors(info.Env(), "forgetting masks", [&] { matcher_->evict(); });
  return info.Env().Undefined();
}

// timeMask(): the microseconds that finding the mask takes, without what a call from JavaScript
// does.
Napi::Value NativeMatcher::time_mask(const Napi::CallbackInfo& info) {
  using Clock = std::chrono::steady_clock;
  Clock::duration time{};
  throw_errors(info.Env(), "finding a mask", [&] {
    const auto start = Clock::now();
    const Mask mask = matcher_->mask();
    time = Clock::now() - start;
  });
  return Napi::Number::New(info.Env(), std::chrono::duration<double, std::micro>(time).count());
}

}  // namespace tramontane::binding
