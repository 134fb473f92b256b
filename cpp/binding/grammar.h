// Grammar, Vocabulary and Matcher: what holds a generation to a grammar.
#pragma once

#include <napi.h>

#include <memory>

#include "grammar/matcher.h"

namespace tramontane::binding {

class NativeGrammar : public Napi::ObjectWrap<NativeGrammar> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Grammar(nodes, edges, most): the tables of lib/grammar/network.ts.
  explicit NativeGrammar(const Napi::CallbackInfo& info);
  const std::shared_ptr<SharedGrammar>& shared() const { return shared_; }

 private:
  // accepts(bytes): whether they are a whole text of the grammar.
  Napi::Value accepts(const Napi::CallbackInfo& info);

  std::shared_ptr<SharedGrammar> shared_;
};

// buildVocabulary(bytes, offsets, kinds) -> Promise<Vocabulary>, an External.
Napi::Value build_vocabulary(const Napi::CallbackInfo& info);
std::shared_ptr<const Vocabulary> to_vocabulary(const Napi::Value& value);

class NativeMatcher : public Napi::ObjectWrap<NativeMatcher> {
 public:
  static Napi::Function define(Napi::Env env);
  // new Matcher(grammar, vocabulary, {endTokens, dummySpace})
  explicit NativeMatcher(const Napi::CallbackInfo& info);

 private:
  Napi::Value mask(const Napi::CallbackInfo& info);
  Napi::Value accept(const Napi::CallbackInfo& info);
  Napi::Value rollback(const Napi::CallbackInfo& info);
  Napi::Value accepting(const Napi::CallbackInfo& info);
  Napi::Value finished(const Napi::CallbackInfo& info);
  Napi::Value place(const Napi::CallbackInfo& info);
  Napi::Value evict(const Napi::CallbackInfo& info);
  Napi::Value time_mask(const Napi::CallbackInfo& info);

  std::unique_ptr<Matcher> matcher_;
};

}  // namespace tramontane::binding
