// Generations that a grammar holds: what they end with, and that company changes nothing.
#include <memory>
#include <string>

#include "base/error.h"
#include "engine/grammar_constraint.h"
#include "engine_server.h"
#include "grammar_model.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::test;

namespace {

constexpr int32_t kModelVocabulary = 96;
constexpr int32_t kEnd = 1;

// Of `size` tokens: two control tokens, letters and signs, and pieces of several of them.
Tokens tokens_of(int32_t size) {
  Tokens tokens;
  Random random(1);
  const std::string letters = "abcd[]\", ";
  for (int32_t i = 0; i < size; ++i) {
    std::string text;
    const int32_t length = i < 11 ? 1 : 2 + below(random, 3);
    for (int32_t at = 0; at < length; ++at) {
      const auto letter =
          i < 11 ? static_cast<size_t>(std::max(i - 2, 0)) : static_cast<size_t>(below(random, 9));
      text += letters[letter];
    }
    tokens.texts.push_back(text);
    tokens.kinds.push_back(i < 2 ? TokenKind::kNone : TokenKind::kText);
  }
  return tokens;
}

// A list of strings or lists, with at most three characters in a string.
Tables list() {
  Tables tables;
  const int32_t rule = tables.choice({}), item = tables.choice({});
  const int32_t string = tables.characters(0, 3, tables.text("\"", tables.end()));
  tables.set_edges(item, {tables.text("\"", string), tables.call(rule, tables.end())});
  const int32_t close = tables.text("]", tables.end());
  const int32_t further = tables.choice({});
  tables.set_edges(further, {tables.text(",", tables.call(item, further)), close});
  tables.set_edges(rule, {tables.text("[", tables.call(item, further))});
  return tables.start(rule);
}

std::string text_of(const Tokens& tokens, const std::vector<int32_t>& ids) {
  std::string text;
  for (const int32_t id : ids) {
    if (id != kEnd) text += tokens.texts[static_cast<size_t>(id)];
  }
  return text;
}

struct Setting {
  explicit Setting(const Tables& tables, int32_t size = kModelVocabulary)
      : tokens(tokens_of(size)),
        vocabulary(std::make_shared<const Vocabulary>(tokens.vocabulary())),
        grammar(std::make_shared<SharedGrammar>(tables.grammar())) {}

  GenerateRequest request(uint32_t seed, int32_t max_tokens) const {
    GenerateRequest request = request_of(seed, 10, max_tokens);
    request.stop_tokens = {kEnd};
    request.constraint = std::make_unique<GrammarConstraint>(
        grammar, vocabulary, request.stop_tokens, false, kModelVocabulary);
    return request;
  }
  bool accepts(const std::vector<int32_t>& ids) const {
    const std::string text = text_of(tokens, ids);
    return grammar->accepts(reinterpret_cast<const uint8_t*>(text.data()), text.size());
  }

  const Tokens tokens;
  const std::shared_ptr<const Vocabulary> vocabulary;
  const std::shared_ptr<SharedGrammar> grammar;
};

// Forgets everything before each mask.
class Forgetful final : public TokenConstraint {
 public:
  explicit Forgetful(const Setting& setting)
      : matcher_(setting.grammar, setting.vocabulary, {{kEnd}, false}) {}
  const uint32_t* mask() override {
    matcher_.evict();
    mask_ = matcher_.mask();
    return mask_->data();
  }
  void accept(int32_t token) override { CHECK(matcher_.accept(token)); }
  void rollback(int32_t tokens) override { matcher_.rollback(tokens); }
  bool finished() override { return matcher_.finished(); }

 private:
  Matcher matcher_;
  Mask mask_;
};

}  // namespace

TEST("a text of a grammar ends without a step of its own where nothing can follow") {
  const Setting setting(list());
  Server server({});
  constexpr uint32_t kRequests = 40;
  for (uint32_t i = 0; i < kRequests; ++i) server.engine().submit(i, setting.request(i, 60));
  CHECK(server.wait_for(kRequests));
  int stopped = 0;
  for (uint32_t i = 0; i < kRequests; ++i) {
    const bool stops = server.ends[i].finish == Finish::kStop;
    CHECK(stops || server.ends[i].finish == Finish::kLength);
    CHECK(setting.accepts(server.tokens[i]) == stops);
    if (!stops) continue;
    ++stopped;
    CHECK(server.tokens[i].back() != kEnd);
  }
  CHECK(stopped > 10);
}

TEST("a text that may go on ends with the end token, which is drawn only there") {
  Tables tables;  // "[" then letters, three or more.
  const int32_t letter = tables.bytes('a', 'd', tables.end());
  tables.start(tables.text("[", tables.repeat(letter, 3, kNoMost, tables.end())));
  const Setting setting(tables);
  Server server({});
  for (uint32_t i = 0; i < 40; ++i) server.engine().submit(i, setting.request(i, 40));
  CHECK(server.wait_for(40));
  int ended = 0;
  for (uint32_t i = 0; i < 40; ++i) {
    if (server.ends[i].finish != Finish::kStop) continue;
    ++ended;
    CHECK(server.tokens[i].back() == kEnd);
    CHECK(setting.accepts(server.tokens[i]));
  }
  CHECK(ended > 10);
}

TEST("a text of a grammar is the same alone, in company, after a lack of pages, without a cache") {
  const Setting setting(list());
  TinyModel::Options tight;
  tight.kv_tokens = 192;
  tight.window = 0;
  TinyModel::Options roomy;
  roomy.window = 0;
  Server company(roomy), crowded(tight), forgetful(roomy);
  constexpr uint32_t kRequests = 32;
  for (uint32_t i = 0; i < kRequests; ++i) {
    company.engine().submit(i, setting.request(i, 50));
    crowded.engine().submit(i, setting.request(i, 50));
    GenerateRequest request = setting.request(i, 50);
    request.constraint = std::make_unique<Forgetful>(setting);
    forgetful.engine().submit(i, std::move(request));
  }
  for (Server* server : {&company, &crowded, &forgetful}) CHECK(server->wait_for(kRequests));
  for (uint32_t i = 0; i < kRequests; ++i) {
    const std::vector<int32_t> expected = alone(roomy, setting.request(i, 50));
    CHECK(company.tokens[i] == expected);
    CHECK(crowded.tokens[i] == expected);
    CHECK(forgetful.tokens[i] == expected);
  }
}

TEST("where no token is left the error says what the grammar goes on with") {
  Tables tables;
  tables.start(tables.text("[x", tables.end()));
  const Setting setting(tables);
  Server server({});
  server.engine().submit(1, setting.request(1, 5));
  CHECK(server.wait_for(1));
  const Event& end = server.ends[1];
  CHECK(end.finish == Finish::kFailed);
  CHECK(std::string(end.error_code) == "INVALID_GRAMMAR");
  CHECK(end.error_message.find("\"x\"") != std::string::npos);
  CHECK(end.error_message.find("after 1 ") != std::string::npos);
}

TEST("tokens that the tokenizer does not have are not drawn under a grammar") {
  for (const int32_t size : {60, 120}) {
    const Setting setting(list(), size);
    Server server({});
    for (uint32_t i = 0; i < 20; ++i) server.engine().submit(i, setting.request(i, 30));
    CHECK(server.wait_for(20));
    for (uint32_t i = 0; i < 20; ++i) {
      CHECK(server.ends[i].finish != Finish::kFailed);
      for (const int32_t token : server.tokens[i]) {
        CHECK(token < std::min(size, kModelVocabulary));
      }
    }
  }
}
