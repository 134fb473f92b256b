// Work on a thread of libuv's pool whose result is a promise.
#pragma once

#include <napi.h>

#include <string>

#include "binding/convert.h"
#include "binding/guard.h"

namespace tramontane::binding {

class PromiseWorker : public Napi::AsyncWorker {
 public:
  // Starts the work; the object deletes itself when it is done.
  Napi::Promise start() {
    Queue();
    return deferred_.Promise();
  }

 protected:
  // `doing` is for messages: "loading the model".
  PromiseWorker(Napi::Env env, const char* doing)
      : Napi::AsyncWorker(env), deferred_(Napi::Promise::Deferred::New(env)), doing_(doing) {}

  // On the other thread, without JavaScript. What it throws rejects the promise.
  virtual void run() = 0;
  // What the promise resolves to, on JavaScript's thread.
  virtual Napi::Value result() { return Env().Undefined(); }
  // What the promise is rejected with.
  virtual Napi::Value reason(const Napi::Error& error) { return error.Value(); }

 private:
  void Execute() final {
    catch_errors(
        doing_, [&] { run(); },
        [&](const char* code, const std::string& message) {
          code_ = code;
          SetError(message);
        });
  }

  void OnOK() final {
    try {
      throw_errors(Env(), doing_, [&] { deferred_.Resolve(result()); });
    } catch (const Napi::Error& error) {
      deferred_.Reject(error.Value());
    }
  }

  void OnError(const Napi::Error& error) final {
    deferred_.Reject(reason(to_error(Env(), code_, error.Message())));
  }

  const Napi::Promise::Deferred deferred_;
  const char* const doing_;
  const char* code_ = "COMPUTE_FAILED";
};

}  // namespace tramontane::binding
