// Sphinx's scores of search results. A page about a subject, which its `.. index:: ! subject` says,
// comes before the glossary, which only defines the word.
var Scorer = {
  score: ([docname, , , , score]) => (docname === "glossary" ? score / 4 : score),
  objNameMatch: 11,
  objPartialMatch: 6,
  objPrio: { 0: 15, 1: 5, 2: -5 },
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,
};
