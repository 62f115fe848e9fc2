//! Collections and their documents: what is checked before the store is asked.

use super::Services;
use crate::error::{Error, Kind, Result};
use crate::retrieve::parse::Format;
use crate::store::TenantId;
use crate::store::corpus::{Accepted, Collection, NewCollection, NewDocument};

/// Documents in one call.
const MAX_DOCUMENTS: usize = 1_000;

impl Services {
    /// Makes a collection for the embedder in use, or changes its description. True when made.
    ///
    /// # Errors
    /// `collection_embedder` when it is there and was indexed by another embedder.
    pub async fn put_collection(
        &self,
        tenant: &TenantId,
        name: &str,
        description: Option<String>,
    ) -> Result<(Collection, bool)> {
        let encoder = &self.retriever.encoder;
        let new = NewCollection {
            description,
            embedder: encoder.id().to_owned(),
            dimension: encoder.dimension(),
        };
        self.store().put_collection(tenant, name, new).await
    }

    /// Takes documents in: when this returns they survive a crash, and the indexer is at work.
    ///
    /// # Errors
    /// `documents_empty`, `documents_too_many`, `document_too_large`, `document_media_type` with
    /// the place of the document at fault.
    pub async fn accept_documents(
        &self,
        tenant: &TenantId,
        collection: &str,
        documents: Vec<NewDocument>,
    ) -> Result<Accepted> {
        if documents.is_empty() {
            return Err(Error::invalid("documents_empty", "no document was given"));
        }
        if documents.len() > MAX_DOCUMENTS {
            let message =
                format!("{} documents in one call; at most {MAX_DOCUMENTS}", documents.len());
            return Err(Error::new(Kind::TooLarge, "documents_too_many", message));
        }
        for (index, document) in documents.iter().enumerate() {
            self.check_document(document).map_err(|error| {
                let detail = error.message.clone();
                error.with_field(format!("/documents/{index}"), detail)
            })?;
        }
        let accepted = self.store().accept_documents(tenant, collection, documents).await?;
        self.work.notify_one();
        Ok(accepted)
    }

    fn check_document(&self, document: &NewDocument) -> Result<()> {
        let limit = self.config.ingest.max_document_bytes;
        if document.content.len() > limit {
            let message = format!(
                "a document of {} bytes is over {limit}, the setting [ingest] max_document_bytes",
                document.content.len()
            );
            return Err(Error::new(Kind::TooLarge, "document_too_large", message));
        }
        Format::of_media_type(&document.media_type).map(|_| ())
    }

    pub async fn delete_document(
        &self,
        tenant: &TenantId,
        collection: &str,
        id: &str,
    ) -> Result<()> {
        self.store().delete_document(tenant, collection, id).await?;
        self.work.notify_one();
        Ok(())
    }

    pub async fn delete_collection(&self, tenant: &TenantId, name: &str) -> Result<()> {
        self.store().delete_collection(tenant, name).await?;
        self.work.notify_one();
        Ok(())
    }
}
