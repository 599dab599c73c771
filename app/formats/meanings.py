"""What each column is for, in the words that the template and the documentation use."""

from __future__ import annotations

MEANINGS = {
    "identifier": "What names it for good, best a UUID; made from its code or text when empty.",
    "uri": "Its address; made from the identifier when empty.",
    "lastChangeDateTime": "When it was changed last; that of the framework or file when empty.",
    "extensions": "Fields of your own, as a JSON object.",
    "more": "What the other columns cannot say exactly, as a JSON object.",
    "title": "What the framework is called. Required.",
    "creator": "Who made the framework. Required.",
    "publisher": "Who publishes it.",
    "description": "What it is about.",
    "CFDocument.subject": "The subjects the framework is about.",
    "subject": "The subjects the item is about.",
    "subjectURI": "Links to subjects.",
    "language": "The language it is written in, such as en.",
    "frameworkType": "What kind of framework it is.",
    "caseVersion": "1.1, or nothing.",
    "officialSourceURL": "Where the official text is.",
    "version": "The version of the framework.",
    "adoptionStatus": "Draft, Adopted, Deprecated or another status.",
    "statusStartDate": "The day from which it is in force.",
    "statusEndDate": "The day until which it is in force.",
    "licenseURI": "the licence",
    "licenseText": "The text of the licence, as OpenSALT writes it.",
    "notes": "Notes.",
    "CFPackageURI": "the package",
    "parent": "The identifier or code of the item above; the framework itself when empty.",
    "CFItem.sequenceNumber": "The place among siblings; one after the sibling above when empty.",
    "sequenceNumber": "The place among associations of the same kind.",
    "parentAssociation": "What else is known of the association to the parent, as a JSON object; "
    "none where there is no parent at all.",
    "smartLevel": "In place of parent, as OpenSALT has it: 1.2.3 lies under 1.2.",
    "humanCodingScheme": "The code that people use, such as 3.OA.1.",
    "fullStatement": "The text of the item. Required.",
    "abbreviatedStatement": "A short form of the text.",
    "alternativeLabel": "Another name of the item.",
    "CFItemType": "What kind of item it is, such as Standard or Domain.",
    "CFItemTypeURI": "the item type",
    "educationLevel": "Grades or levels.",
    "conceptKeywords": "Keywords.",
    "conceptKeywordsURI": "Links to concepts.",
    "listEnumeration": "The letter or number before the item in its list.",
    "CFDocumentURI": "the framework, where that is not this one",
    "associationType": "Such as isRelatedTo, exactMatchOf, precedes or isPartOf. Required.",
    "originNodeURI": "the item that the association is from",
    "originNodeURI.identifier": "The identifier or code of the item it is from. Required.",
    "destinationNodeURI": "the item that the association is to",
    "destinationNodeURI.identifier": "The identifier or code of the item it is to. Required.",
    "CFAssociationGroupingURI": "the group that the association belongs to",
    "position": "The place among all associations of the framework.",
}
"""By name of the field, where it must be after that of its class."""

LINK_PARTS = {
    "title": "The title of {}.",
    "identifier": "The identifier of {}.",
    "uri": "The address of {}.",
    "targetType": "The kind of {} when it does not lie in CASE: ext:name.",
}
"""The columns of a link."""
