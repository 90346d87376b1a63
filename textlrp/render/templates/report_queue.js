// The documents that were given to each annotator, in the order in which to mark them.
const Queue = (() => {
  const queues = new Map(Object.entries(Data.queues));
  const here = id => (Data.pages ? Data.ids.some(ids => ids.includes(id)) : Data.places.has(id));

  /** The ids that the annotator was given, of those on this page; null if none were given out to this name. */
  const ids = () => queues.get(Marks.name)?.filter(here) ?? null;

  /** The ids whose marking is counted. */
  const counted = () => ids() ?? (Data.pages ? Data.ids.flat() : Data.columns.id);

  return {
    ids, counted,
    names: [...queues.keys()],
    /** The documents of the queue by number, or null. */
    places: () => ids()?.map(id => Data.places.get(id)) ?? null,
  };
})();
