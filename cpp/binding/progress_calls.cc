#include "binding/progress_calls.h"

#include "base/error.h"

namespace tramontane::binding {

ProgressCalls::ProgressCalls(Napi::Env env, Napi::Function on_progress)
    : state_(std::make_shared<State>()) {
  state_->on_progress = Napi::Persistent(on_progress);
  auto context = std::make_unique<std::shared_ptr<State>>(state_);
  const napi_value name = Napi::String::New(env, "tramontane progress");
  if (napi_create_threadsafe_function(env, nullptr, nullptr, name, 0, 1, nullptr, finalize,
                                      context.get(), wake_up, &function_) != napi_ok) {
    throw Error("OUT_OF_MEMORY", "cannot create a thread-safe function");
  }
  context.release();  // finalize() deletes it.
}

ProgressCalls::~ProgressCalls() {
  state_->on_progress.Reset();
  napi_release_threadsafe_function(function_, napi_tsfn_abort);
}

void ProgressCalls::finalize(napi_env, void*, void* context) {
  delete static_cast<std::shared_ptr<State>*>(context);
}

void ProgressCalls::report(double fraction) {
  if (state_->given_up) throw GivenUp("given up");
  state_->fraction = fraction;
  if (state_->on_its_way.exchange(true)) return;
  napi_call_threadsafe_function(function_, nullptr, napi_tsfn_nonblocking);
}

void ProgressCalls::wake_up(napi_env env, napi_value, void* context, void*) {
  if (env == nullptr) return;  // The environment is going away.
  const std::shared_ptr<State> state = *static_cast<std::shared_ptr<State>*>(context);
  call(*state);
}

void ProgressCalls::call(State& state) {
  if (!state.on_its_way.exchange(false) || state.given_up || state.on_progress.IsEmpty()) return;
  const Napi::Env env = state.on_progress.Env();
  const Napi::HandleScope scope(env);
  try {
    state.on_progress.Call({Napi::Number::New(env, state.fraction)});
  } catch (const Napi::Error& error) {
    state.thrown = error;
    state.given_up = true;
  }
}

}  // namespace tramontane::binding
