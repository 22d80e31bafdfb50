/* What people type for names and options, in the language of the search: there, a dash before a word excludes it, and
   a word is taken for the beginning of many. One that is all of a name counts more. */
"use strict";

function asQuery(text) {
  const words = text.replace(/(^|\s)-+(?=\w)/g, "$1").replace(/\bF\.(?=\w)/g, "functional.").trim().split(/[\s.]+/);
  return words.map((word) => (/^\w+$/.test(word) ? `${word}^20 ${word}` : word)).join(" ");
}

const post = Worker.prototype.postMessage;
Worker.prototype.postMessage = function (message, ...rest) {
  const asked = message.type === 2 ? { ...message, data: asQuery(message.data) } : message; // 2: a query
  return post.call(this, asked, ...rest);
};
