// Grammars: masks against every token tried byte by byte, counts, limits, and tables that nobody
// vouches for.
#include <memory>
#include <thread>

#include "base/error.h"
#include "grammar/matcher.h"
#include "grammar_model.h"
#include "test.h"

using namespace tramontane;
using namespace tramontane::test;

namespace {

std::shared_ptr<SharedGrammar> shared(const Tables& tables) {
  return std::make_shared<SharedGrammar>(tables.grammar());
}

std::shared_ptr<const Vocabulary> made(const Tokens& tokens) {
  return std::make_shared<const Vocabulary>(tokens.vocabulary());
}

bool accepts(const Tables& tables, const std::string& text) {
  return shared(tables)->accepts(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

bool has(const Mask& mask, int32_t token) {
  return ((*mask)[static_cast<size_t>(token) / 32] >> (token % 32) & 1) != 0;
}

template <typename Work>
std::string code_of(const Work& work) {
  try {
    work();
  } catch (const Error& error) {
    return error.code();
  }
  return "nothing thrown";
}

// A matcher beside one that is emptied at every step and one that follows every stack.
class Comparison {
 public:
  Comparison(const Tables& tables, const Tokens& tokens, bool dummy_space)
      : tokens_(tokens), naive_{{NaiveMatcher(tables), dummy_space}}, dummy_space_(dummy_space) {
    const auto grammar = shared(tables);
    vocabulary_ = made(tokens);
    for (int32_t token = 0; token < vocabulary_->size(); ++token) {
      spelled_.push_back(is_spelled(token));
    }
    const MatcherOptions options{{1}, dummy_space};
    matcher_ = std::make_unique<Matcher>(grammar, vocabulary_, options);
    emptied_ = std::make_unique<Matcher>(shared(tables), vocabulary_, options);
  }

  // Goes to a random place, and compares on the way. Returns the number of masks compared.
  int walk(Random& random, int32_t steps) {
    int compared = 0;
    constexpr size_t kMostPlaces = 60;  // More would take the slow one too long.
    for (int32_t step = 0; step < steps && naive_.back().matcher.places() < kMostPlaces; ++step) {
      const std::vector<int32_t> allowed = compare();
      ++compared;
      if (naive_.size() > 2 && below(random, 6) == 0) {
        const int32_t back = 1 + below(random, static_cast<int32_t>(naive_.size()) - 1);
        for (Matcher* matcher : {matcher_.get(), emptied_.get()}) matcher->rollback(back);
        naive_.erase(naive_.end() - back, naive_.end());
        continue;
      }
      const int32_t refused = below(random, vocabulary_->size());
      if (std::find(allowed.begin(), allowed.end(), refused) == allowed.end()) {
        CHECK(!matcher_->accept(refused));
      }
      if (allowed.empty()) break;
      const int32_t token =
          allowed[static_cast<size_t>(below(random, static_cast<int32_t>(allowed.size())))];
      if (token == 1 && naive_.back().matcher.accepts()) break;
      CHECK(matcher_->accept(token));
      CHECK(emptied_->accept(token));
      naive_.push_back(after(token));
    }
    return compared;
  }

 private:
  struct Naive {
    NaiveMatcher matcher;
    bool dummy_space;
  };

  Naive after(int32_t token) const {
    const Naive& now = naive_.back();
    const NaiveMatcher by_id = now.matcher.by_id(token);
    if (!spelled_[static_cast<size_t>(token)]) return {by_id, dummy_space_};
    const NaiveMatcher by_text =
        now.matcher.by_text(vocabulary_->begin(token), vocabulary_->end(token), now.dummy_space);
    return {by_id.with(by_text), dummy_space_ && !by_text.alive()};
  }

  bool is_spelled(int32_t token) const {
    const auto at = static_cast<size_t>(token);
    if (tokens_.kinds[at] != TokenKind::kByte) return tokens_.kinds[at] == TokenKind::kText;
    for (size_t other = 0; other < tokens_.texts.size(); ++other) {
      if (tokens_.kinds[other] == TokenKind::kText && tokens_.texts[other] == tokens_.texts[at]) {
        return false;
      }
    }
    return true;
  }

  std::vector<int32_t> compare() {
    emptied_->evict();
    const Mask mask = matcher_->mask(), again = matcher_->mask(), emptied = emptied_->mask();
    CHECK(*mask == *again);
    CHECK(*mask == *emptied);
    const NaiveMatcher& naive = naive_.back().matcher;
    CHECK(matcher_->accepting() == naive.accepts());
    CHECK(matcher_->finished() == naive.finished());
    std::vector<int32_t> allowed;
    for (int32_t token = 0; token < vocabulary_->size(); ++token) {
      const bool expected = after(token).matcher.alive() || (token == 1 && naive.accepts());
      if (has(mask, token) != expected) {
        fail(__FILE__, __LINE__, "token " + std::to_string(token) + " is wrong in the mask");
      }
      if (expected) allowed.push_back(token);
    }
    return allowed;
  }

  const Tokens& tokens_;
  std::shared_ptr<const Vocabulary> vocabulary_;
  std::unique_ptr<Matcher> matcher_, emptied_;
  std::vector<Naive> naive_;
  std::vector<bool> spelled_;  // Of each token, whether it may be drawn for its bytes.
  const bool dummy_space_;
};

}  // namespace

TEST("masks are what trying every token byte by byte gives, in random grammars and places") {
  int compared = 0, refused = 0;
  for (uint32_t seed = 0; seed < 400; ++seed) {
    const Tables tables = random_tables(seed);
    const Tokens tokens = random_tokens(seed, 120);
    try {
      tables.grammar();
    } catch (const Error&) {
      ++refused;
      continue;
    }
    Random random(seed);
    Comparison comparison(tables, tokens, seed % 3 == 0);
    compared += comparison.walk(random, 25);
  }
  CHECK(compared >= 2000);
  CHECK(refused < 200);
}

TEST("counts have their limits, however large they are") {
  Tables tables;
  std::vector<int32_t> ways;  // As many classes of bytes as there can be: long rows of transitions.
  for (int byte = 1; byte < 256; ++byte) {
    ways.push_back(tables.bytes(byte, byte, tables.text("!", tables.end())));
  }
  ways.push_back(tables.text("\"", tables.characters(2, 100000, tables.text("\"", tables.end()))));
  tables.start(tables.choice(ways));
  std::string full(100002, 'a');
  full.front() = full.back() = '"';
  CHECK(accepts(tables, full));
  full.insert(full.begin() + 1, 'a');
  CHECK(!accepts(tables, full));
  CHECK(!accepts(tables, "\"a\""));
  CHECK(accepts(tables, "\"a\xc3\xa9\""));
}

TEST("a large count costs no mask of its own at each character") {
  Tables tables;
  tables.start(tables.text("\"", tables.characters(0, 100000, tables.text("\"", tables.end()))));
  const Tokens tokens = random_tokens(1, 200);
  const auto vocabulary = made(tokens);
  Matcher matcher(shared(tables), vocabulary, {});
  const auto token_of = [&](const std::string& text) {
    for (int32_t i = vocabulary->size() - 1;; --i) {
      if (tokens.texts[static_cast<size_t>(i)] == text) return i;
    }
  };
  CHECK(matcher.accept(token_of("\"")));
  const int32_t a = token_of("a");
  const Mask first = matcher.mask();
  for (int i = 0; i < 99000; ++i) {
    CHECK(matcher.accept(a));
    if (i % 1000 == 0) CHECK(matcher.mask() == first);  // The very same one.
  }
  for (int i = 0; i < 1000; ++i) CHECK(matcher.accept(a));
  CHECK(!matcher.accept(a));
  const Mask last = matcher.mask();
  CHECK(has(last, token_of("\"")) && !has(last, a));
  matcher.rollback(100000);
  CHECK(matcher.mask() == first);
}

TEST("counts that contain one another are one place") {
  // (a|aa){0,900}: after n letters it could have been made from n/2 to n times.
  Tables tables;
  const int32_t end = tables.end();
  const int32_t body = tables.choice({tables.text("a", end), tables.text("aa", end)});
  tables.start(tables.repeat(body, 0, 900, tables.end()));
  CHECK(accepts(tables, std::string(1800, 'a')));
  CHECK(!accepts(tables, std::string(1801, 'a')));
}

TEST("a grammar that is in too many places at once is an error, not a matter of time or memory") {
  // ((a|aa){2,1000}b?){0,1000}c with every division of the letters.
  Tables tables;
  const int32_t end = tables.end();
  const int32_t inner =
      tables.repeat(tables.choice({tables.text("a", end), tables.text("aa", end)}), 100, 1000,
                    tables.choice({tables.text("b", end), end}));
  tables.start(tables.repeat(tables.repeat(inner, 5, 1000, tables.end()), 5, 1000, tables.end()));
  CHECK(code_of([&] { accepts(tables, std::string(20000, 'a')); }) == "INVALID_GRAMMAR");
  // 2,000 texts that start alike.
  Tables wide;
  std::vector<int32_t> ways;
  for (int i = 0; i < 2000; ++i) ways.push_back(wide.text(std::to_string(10000 + i), wide.end()));
  wide.start(wide.choice(ways));
  const auto vocabulary = made(random_tokens(1, 10));
  Matcher matcher(shared(wide), vocabulary, {});
  for (int i = 0; i < 2; ++i) CHECK(code_of([&] { matcher.mask(); }) == "INVALID_GRAMMAR");
}

TEST("left recursion and repeats of nothing are refused, other recursion is not") {
  Tables left;
  const int32_t rule = left.choice({});
  left.set_edges(rule, {left.call(rule, left.text("a", left.end())), left.text("b", left.end())});
  left.start(rule);
  CHECK(code_of([&] { left.grammar(); }) == "INVALID_GRAMMAR");

  Tables hidden;  // rule: b? rule a
  const int32_t behind = hidden.choice({});
  const int32_t self = hidden.call(behind, hidden.text("a", hidden.end()));
  const int32_t maybe = hidden.choice({hidden.text("b", hidden.end()), hidden.end()});
  hidden.set_edges(behind, {hidden.call(maybe, self)});
  hidden.start(behind);
  CHECK(code_of([&] { hidden.grammar(); }) == "INVALID_GRAMMAR");

  Tables nothing;
  nothing.start(nothing.repeat(nothing.end(), 0, kNoMost, nothing.end()));
  CHECK(code_of([&] { nothing.grammar(); }) == "INVALID_GRAMMAR");

  Tables nested;  // rule: ( rule ) | x
  const int32_t inner = nested.choice({});
  const int32_t close = nested.text(")", nested.end());
  nested.set_edges(inner,
                   {nested.text("(", nested.call(inner, close)), nested.text("x", nested.end())});
  nested.start(inner);
  const std::string open(5000, '('), shut(5000, ')');
  CHECK(accepts(nested, open + "x" + shut));
  CHECK(!accepts(nested, open + "x" + shut + ")"));
  CHECK(!accepts(nested, open + "x"));
}

TEST("tables of random numbers are refused or matched, and nothing else happens") {
  const auto vocabulary = made(random_tokens(1, 50));
  int taken = 0;
  for (uint32_t seed = 0; seed < 20000; ++seed) {
    Random random(seed);
    const int32_t count = 1 + below(random, 12);
    const bool wild = seed % 4 == 0;
    const auto number = [&](int32_t limit) {
      return wild && below(random, 20) == 0 ? static_cast<int32_t>(random()) : below(random, limit);
    };
    std::vector<int32_t> nodes, edges, most;
    for (int32_t i = 0; i < count; ++i) {
      nodes.push_back(number(6));
      const bool bytes = nodes.back() == 1;
      nodes.push_back(bytes ? number(150) : number(count));
      nodes.push_back(bytes ? 150 + number(106) : number(4));
      nodes.push_back(number(count));
      edges.push_back(number(count));
      most.push_back(below(random, 3) == 0 ? kNoMost : number(8));
    }
    try {
      const auto grammar = std::make_shared<SharedGrammar>(Grammar(nodes, edges, most));
      Matcher matcher(grammar, vocabulary, {{1}, seed % 2 == 0});
      for (int step = 0; step < 20; ++step) {
        const Mask mask = matcher.mask();
        int32_t token = below(random, vocabulary->size());
        for (int32_t i = 0; i < vocabulary->size() && !has(mask, token); ++i) {
          token = (token + 1) % vocabulary->size();
        }
        // Nothing may be allowed, or a token after which nothing ever ends.
        if (!matcher.accept(token)) matcher.rollback(1);
        matcher.place();
      }
      ++taken;
    } catch (const Error& error) {
      CHECK(std::string(error.code()) == "INVALID_GRAMMAR");
    }
  }
  CHECK(taken > 1000);
}

TEST("a control token is never drawn for its bytes, nor a byte where a piece spells it") {
  Tables tables;
  tables.start(tables.any_characters(tables.text("\"", tables.token(0, tables.end()))));
  const Tokens tokens = random_tokens(1, 0);
  const auto vocabulary = made(tokens);
  Matcher matcher(shared(tables), vocabulary, {{1}, false});
  const Mask mask = matcher.mask();
  for (int32_t token = 0; token < 3; ++token) CHECK(!has(mask, token));
  CHECK(!has(mask, 3 + 'a') && !has(mask, 3 + '"'));
  CHECK(has(mask, 3 + 'd') && has(mask, 3 + 0xc3));
  CHECK(!has(mask, 3 + 0x1f) && !has(mask, 3 + 0x80));
  const int32_t quote = 3 + 256 + 5;
  CHECK(has(mask, quote) && matcher.accept(quote));
  CHECK(has(matcher.mask(), 0) && !has(matcher.mask(), 1));
  CHECK(!matcher.accepting() && matcher.accept(0) && matcher.finished());
  CHECK(has(matcher.mask(), 1) && matcher.accept(1));
}

TEST("the space that begins every text counts for nothing, once, and after a control token again") {
  Tables tables;
  const int32_t text = tables.text("a", tables.token(0, tables.text("b", tables.end())));
  tables.start(text);
  Tokens tokens = random_tokens(1, 0);
  const auto id = [&](const std::string& piece) {
    tokens.texts.push_back(piece);
    tokens.kinds.push_back(TokenKind::kText);
    return static_cast<int32_t>(tokens.texts.size()) - 1;
  };
  const int32_t a = id(" a"), b = id(" b"), two = id("  a"), space = 3 + 256 + 4;
  const auto vocabulary = made(tokens);
  Matcher plain(shared(tables), vocabulary, {{1}, false});
  CHECK(!has(plain.mask(), a) && !has(plain.mask(), space));
  Matcher matcher(shared(tables), vocabulary, {{1}, true});
  const Mask mask = matcher.mask();
  CHECK(has(mask, a) && has(mask, space) && has(mask, 3 + 256) && !has(mask, two) && !has(mask, b));
  CHECK(matcher.accept(space) && !has(matcher.mask(), a) && has(matcher.mask(), 3 + 256));
  matcher.rollback(1);
  CHECK(matcher.accept(a) && matcher.accept(0) && has(matcher.mask(), b) && matcher.accept(b));
  CHECK(matcher.finished());
}

TEST("tokens of the same bytes are allowed together") {
  Tables tables;
  tables.start(tables.text("ab", tables.end()));
  Tokens tokens = random_tokens(1, 0);
  for (int i = 0; i < 3; ++i) {
    tokens.texts.push_back("ab");
    tokens.kinds.push_back(TokenKind::kText);
  }
  const auto vocabulary = made(tokens);
  for (int32_t token = vocabulary->size() - 3; token < vocabulary->size(); ++token) {
    Matcher matcher(shared(tables), vocabulary, {{1}, false});
    CHECK(has(matcher.mask(), token) && matcher.accept(token) && matcher.finished());
  }
}

TEST("a vocabulary whose offsets do not fit is refused") {
  for (const std::vector<int32_t>& offsets :
       {std::vector<int32_t>{0, 1}, {0, 4, 2}, {0, 2, 9}, {-1, 1, 2}, {}}) {
    CHECK(code_of([&] { Vocabulary({1, 2, 3}, offsets, {0, 0}); }) == "INVALID_OPTION");
  }
}

TEST("threads share the tables of a grammar") {
  Tables tables;
  const int32_t rule = tables.choice({});
  const int32_t end = tables.end();
  const int32_t more = tables.choice({tables.call(rule, end), end});
  const int32_t string = tables.text("\"", tables.characters(3, 50, tables.text("\"", more)));
  tables.set_edges(rule, {string, tables.text("a", more)});
  tables.start(rule);
  const auto grammar = shared(tables);
  const auto vocabulary = made(random_tokens(3, 120));
  const auto walk = [&](bool evicts) {
    std::vector<std::vector<uint32_t>> masks;
    Random random(5);
    Matcher matcher(grammar, vocabulary, {{1}, false});
    for (int step = 0; step < 60; ++step) {
      const Mask mask = matcher.mask();
      masks.push_back(*mask);
      if (evicts && step % 7 == 0) matcher.evict();
      int32_t token = below(random, vocabulary->size());
      for (int32_t i = 0; i < vocabulary->size() && !has(mask, token); ++i) {
        token = (token + 1) % vocabulary->size();
      }
      if (!matcher.accept(token)) matcher.rollback(2);
    }
    return masks;
  };
  const auto expected = walk(false);
  std::vector<std::thread> threads;
  std::vector<int> equal(4);
  for (size_t i = 0; i < equal.size(); ++i) {
    threads.emplace_back([&, i] { equal[i] = walk(i % 2 == 0) == expected ? 1 : 0; });
  }
  for (std::thread& thread : threads) thread.join();
  for (const int same : equal) CHECK(same == 1);
}
